-- What is to be seen of the accounts: where each payer stands, what was used, by day, person and place; and its end.

-- What each payer has spent, with what is set aside, in the present minute and day.
CREATE FUNCTION parley_standing_$V(p_platform text, p_workspace text, p_channel text, p_user text)
RETURNS TABLE (payer text, period text, turns bigint, tokens bigint, money bigint) LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  v_now bigint := parley_now_$V();
BEGIN
  RETURN QUERY
    SELECT p.payer, d.kind, coalesce(sum(a.turns + a.reserved_turns), 0)::bigint,
      coalesce(sum(a.prompt_tokens + a.completion_tokens + a.reserved_tokens), 0)::bigint,
      coalesce(sum(a.money + a.reserved_money), 0)::bigint
    FROM (VALUES ('minute', parley_minute_$V(v_now)), ('day', parley_day_$V(v_now))) d(kind, name)
    CROSS JOIN parley_payers_$V(p_platform, p_workspace, p_channel, p_user) p
    LEFT JOIN LATERAL parley_account_$V(d.name, p.platform, p.workspace, p.payer, p.subject) a ON true
    GROUP BY p.payer, d.kind;
END $$;

-- What was used, no further back than `p_days` for which it is kept, under one heading each.
CREATE FUNCTION parley_usage_$V(
  p_platform text, p_workspace text, p_by text, p_first date, p_last date, p_days int, p_user text, p_limit int,
  p_abandoned_after bigint, p_abandoned int
) RETURNS TABLE (heading text, turns bigint, prompt_tokens bigint, completion_tokens bigint, money bigint)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_today date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
  v_payer text := CASE WHEN p_user <> '' OR p_by = 'user' THEN 'user' WHEN p_by = 'channel' THEN 'channel'
    ELSE 'workspace' END;
  v_days text[];
BEGIN
  PERFORM parley_settle_abandoned_$V(p_abandoned_after, p_abandoned);
  -- The days one by one: each is one short span of the accounts, while all that lies between them is everybody's.
  v_days := ARRAY(SELECT to_char(d, '"d"YYYYMMDD')
    FROM generate_series(greatest(p_first, v_today - p_days)::timestamp, least(p_last, v_today + 1), '1 day') d);
  RETURN QUERY
    SELECT u.heading, u.turns, u.prompt_tokens, u.completion_tokens, u.money FROM (
      SELECT CASE p_by WHEN 'day' THEN to_char(to_date(a.period, '"d"YYYYMMDD'), 'YYYY-MM-DD')
          WHEN 'workspace' THEN a.workspace ELSE a.subject END AS heading,
        sum(a.turns)::bigint AS turns, sum(a.prompt_tokens)::bigint AS prompt_tokens,
        sum(a.completion_tokens)::bigint AS completion_tokens, sum(a.money)::bigint AS money
      FROM account a WHERE a.period = ANY (v_days) AND a.platform = p_platform AND a.workspace = p_workspace
        AND a.payer = v_payer AND p_user IN ('', a.subject) GROUP BY 1) u
    WHERE u.turns + u.prompt_tokens + u.completion_tokens + u.money > 0
    ORDER BY CASE p_by WHEN 'day' THEN 0 ELSE u.money END DESC,
      CASE p_by WHEN 'day' THEN 0 ELSE u.prompt_tokens + u.completion_tokens END DESC,
      CASE p_by WHEN 'day' THEN 0 ELSE u.turns END DESC, u.heading COLLATE "C" LIMIT p_limit;
END $$;

-- Drop rows of accounts of minutes that are over and of days before a time, `p_limit` at most; returns how many.
CREATE FUNCTION parley_forget_usage_$V(p_before bigint, p_limit int, p_abandoned_after bigint, p_abandoned int)
RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_now bigint := parley_now_$V();
  v_minutes bigint;
  v_days bigint;
BEGIN
  PERFORM parley_settle_abandoned_$V(p_abandoned_after, p_abandoned);
  -- What somebody is writing to is left for the next time, so nobody waits for this.
  DELETE FROM account WHERE ctid = ANY (ARRAY(
    SELECT a.ctid FROM account a WHERE a.period >= 'm' AND a.period < parley_minute_$V(v_now)
      AND NOT EXISTS (SELECT 1 FROM reservation r WHERE r.minute = a.period)  -- there is still something to be taken off it
    ORDER BY a.period LIMIT p_limit FOR UPDATE OF a SKIP LOCKED));
  GET DIAGNOSTICS v_minutes = ROW_COUNT;
  DELETE FROM account WHERE ctid = ANY (ARRAY(
    SELECT a.ctid FROM account a WHERE a.period >= 'd' AND a.period < parley_day_$V(p_before)
    ORDER BY a.period LIMIT p_limit - v_minutes FOR UPDATE OF a SKIP LOCKED));
  GET DIAGNOSTICS v_days = ROW_COUNT;
  RETURN v_minutes + v_days;
END $$;

-- Drop a workspace's accounts in the next periods behind `p_after`; returns the last one, NULL at the end.
CREATE FUNCTION parley_clear_accounts_$V(p_platform text, p_workspace text, p_after text, p_periods int) RETURNS text
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_period text := p_after;
BEGIN
  FOR n IN 1..p_periods LOOP
    SELECT a.period INTO v_period FROM account a WHERE a.period > v_period ORDER BY a.period LIMIT 1;
    EXIT WHEN NOT FOUND;
    PERFORM 1 FROM account a WHERE a.period = v_period AND a.platform = p_platform AND a.workspace = p_workspace
      ORDER BY a.payer, a.subject FOR UPDATE;
    DELETE FROM account a WHERE a.period = v_period AND a.platform = p_platform AND a.workspace = p_workspace;
  END LOOP;
  RETURN v_period;
END $$;
