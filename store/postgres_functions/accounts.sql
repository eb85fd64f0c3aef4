-- Accounts: what turns may cost is set aside, what they did cost is charged, and both are bounded.
--
-- A hold has one bill, a row of `reservation`: what it has set aside, or, with -1 tokens, that what stands in the turn's
-- own columns was charged; and for whom and in which periods, so that it can be replaced. The bill goes when the turn is
-- settled; one that stays behind its holder is turned into a charge of all that was set aside, since it may have been spent.
--
-- What keeps many at once from passing a limit is a lock on the limited account, which only those have who set something
-- aside within that limit. What is charged takes the place of what was set aside in one moment, so it needs no such lock.
-- All turns are on the accounts of their workspace and of everybody, and a row is locked until its commit is on disk: on
-- one row, all would wait for each other there (130 turns a second where a commit takes 5 ms). So these accounts stand on
-- several rows, and a turn takes one that is free (1,090 a second). Whoever adds them up has the account.
--
-- Locks are taken in one order, so nobody waits in a circle: the conversation, its bill, the limited accounts by their
-- numbers, and then the rows of accounts in the order of `parley_post`, of each account one.
--
-- Functions with large queries have these planned once (`plan_cache_mode`): as nobody knows how long the lists are, the
-- server would plan anew each time, which takes longer than all the rest.

-- What is added to the accounts of one turn's payers, in a day and, unless it is '', in a minute.
CREATE TYPE parley_entry_$V AS (
  day text, minute text, platform text, workspace text, channel text, user_id text,
  turns bigint, prompt_tokens bigint, completion_tokens bigint, money bigint,
  reserved_turns bigint, reserved_tokens bigint, reserved_money bigint
);

-- A limit, numbered as it was asked, with the account that it is about.
CREATE TYPE parley_limit_$V AS (
  number int, period text, platform text, workspace text, payer text, subject text, unit text, amount numeric
);

-- The account that somebody is told something about.
CREATE TYPE parley_word_$V AS (period text, platform text, workspace text, payer text, subject text, word text);

CREATE FUNCTION parley_day_$V(p_at bigint) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT to_char(to_timestamp(p_at / 1000000) AT TIME ZONE 'UTC', '"d"YYYYMMDD')
$$;

CREATE FUNCTION parley_minute_$V(p_at bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT 'm' || p_at / 60000000
$$;

-- Whose accounts a turn is on.
CREATE FUNCTION parley_payers_$V(p_platform text, p_workspace text, p_channel text, p_user text)
RETURNS TABLE (payer text, platform text, workspace text, subject text) LANGUAGE sql IMMUTABLE AS $$
  VALUES ('user', p_platform, p_workspace, p_user), ('channel', p_platform, p_workspace, p_channel),
    ('workspace', p_platform, p_workspace, ''), ('all', '', '', '')
$$;

-- The rows of an account: one, or several of a workspace's and everybody's.
CREATE FUNCTION parley_account_$V(p_period text, p_platform text, p_workspace text, p_payer text, p_subject text)
RETURNS SETOF account LANGUAGE sql STABLE AS $$
  SELECT * FROM account a WHERE a.period = p_period AND a.platform = p_platform AND a.workspace = p_workspace
    AND a.payer = p_payer AND a.subject = p_subject
  UNION ALL
  SELECT * FROM account a WHERE p_payer IN ('workspace', 'all') AND a.period = p_period AND a.platform = p_platform
    AND a.workspace = p_workspace AND a.payer = p_payer AND a.subject <> ''
$$;

-- What takes off the accounts what a bill has on them: what was set aside, or what was charged, which the turn's row knows.
CREATE FUNCTION parley_void_$V(b reservation) RETURNS parley_entry_$V LANGUAGE plpgsql STABLE AS $$
DECLARE
  t turn;
BEGIN
  IF b.tokens >= 0 THEN
    RETURN ROW(b.day, b.minute, b.platform, b.workspace, b.channel, b.user_id,
      0, 0, 0, 0, -1, -b.tokens, -b.money)::parley_entry_$V;
  END IF;
  SELECT * INTO t FROM turn WHERE id = b.turn_id;
  RETURN ROW(b.day, b.minute, b.platform, b.workspace, b.channel, b.user_id,
    -1, -t.prompt_tokens, -t.completion_tokens, -t.money, 0, 0, 0)::parley_entry_$V;
END $$;

-- What ends the bill of a hold that is over: what it had only set aside is spent, by so many turns.
CREATE FUNCTION parley_worst_$V(b reservation, p_turns int) RETURNS parley_entry_$V LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF b.tokens = -1 THEN
    RETURN NULL;
  END IF;
  RETURN ROW(b.day, b.minute, b.platform, b.workspace, b.channel, b.user_id,
    p_turns, b.tokens, 0, b.money, -1, -b.tokens, -b.money)::parley_entry_$V;
END $$;

-- Which row of an account to write to: the first one that nobody else is writing to, so there are as many as were ever
-- written at once, and one where nobody is in anybody's way. A user's and a channel's account is one row; what people are
-- told stands on the first.
CREATE FUNCTION parley_row_$V(
  p_period text, p_platform text, p_workspace text, p_payer text, p_subject text, p_told boolean
) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_lock bigint;
BEGIN
  IF p_told OR p_payer NOT IN ('workspace', 'all') THEN
    RETURN p_subject;
  END IF;
  v_lock := hashtextextended(concat_ws(E'\x1f', 'parley row', p_period, p_platform, p_workspace, p_payer), 0);
  FOR n IN 0..63 LOOP
    IF pg_try_advisory_xact_lock(v_lock + n) THEN
      RETURN CASE n WHEN 0 THEN '' ELSE n::text END;
    END IF;
  END LOOP;
  RETURN '';
END $$;

-- Add to accounts, and write down what people are told of them. It comes last in a transaction, and once.
CREATE FUNCTION parley_post_$V(p_entries parley_entry_$V[], p_words parley_word_$V[]) RETURNS void
LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  INSERT INTO account AS o (period, platform, workspace, payer, subject, turns, prompt_tokens, completion_tokens, money,
    reserved_turns, reserved_tokens, reserved_money, told)
  SELECT a.period, a.platform, a.workspace, a.payer,
    parley_row_$V(a.period, a.platform, a.workspace, a.payer, a.subject, a.told <> ''), a.turns, a.prompt_tokens,
    a.completion_tokens, a.money, a.reserved_turns, a.reserved_tokens, a.reserved_money, a.told
  FROM (
    SELECT l.period, l.platform, l.workspace, l.payer, l.subject, sum(l.turns) AS turns,
      sum(l.prompt_tokens) AS prompt_tokens, sum(l.completion_tokens) AS completion_tokens, sum(l.money) AS money,
      sum(l.reserved_turns) AS reserved_turns, sum(l.reserved_tokens) AS reserved_tokens,
      sum(l.reserved_money) AS reserved_money, coalesce(string_agg(l.word, ' '), '') AS told
    FROM (
      SELECT d.period, p.platform, p.workspace, p.payer, p.subject, e.turns, e.prompt_tokens, e.completion_tokens, e.money,
        e.reserved_turns, e.reserved_tokens, e.reserved_money, NULL AS word
      FROM unnest(p_entries) e CROSS JOIN LATERAL (VALUES (e.day), (e.minute)) d(period)
      CROSS JOIN LATERAL parley_payers_$V(e.platform, e.workspace, e.channel, e.user_id) p WHERE d.period <> ''
      UNION ALL
      SELECT w.period, w.platform, w.workspace, w.payer, w.subject, 0, 0, 0, 0, 0, 0, 0, w.word FROM unnest(p_words) w
    ) l GROUP BY l.period, l.platform, l.workspace, l.payer, l.subject
  ) a
  WHERE a.told <> '' OR (a.turns, a.prompt_tokens, a.completion_tokens, a.money, a.reserved_turns, a.reserved_tokens,
    a.reserved_money) <> (0, 0, 0, 0, 0, 0, 0)
  -- Everybody's account is the last one, so it is held for the shortest time.
  ORDER BY a.payer = 'all', a.period, a.platform, a.workspace, a.payer, a.subject
  ON CONFLICT (period, platform, workspace, payer, subject) DO UPDATE SET turns = o.turns + excluded.turns,
    prompt_tokens = o.prompt_tokens + excluded.prompt_tokens,
    completion_tokens = o.completion_tokens + excluded.completion_tokens, money = o.money + excluded.money,
    reserved_turns = o.reserved_turns + excluded.reserved_turns,
    reserved_tokens = o.reserved_tokens + excluded.reserved_tokens,
    reserved_money = o.reserved_money + excluded.reserved_money, told = trim(o.told || ' ' || excluded.told);
END $$;

-- The limits of an order, as [payer, unit, period, amount], with the accounts that they are about.
CREATE FUNCTION parley_limits_$V(
  p_limits json, p_now bigint, p_platform text, p_workspace text, p_channel text, p_user text
) RETURNS SETOF parley_limit_$V LANGUAGE sql STABLE AS $$
  SELECT l.ordinality::int - 1,
    CASE l.value->>2 WHEN 'minute' THEN parley_minute_$V(p_now) ELSE parley_day_$V(p_now) END,
    p.platform, p.workspace, p.payer, p.subject, l.value->>1, (l.value->>3)::numeric
  FROM json_array_elements(p_limits) WITH ORDINALITY l
  JOIN parley_payers_$V(p_platform, p_workspace, p_channel, p_user) p ON p.payer = l.value->>0
$$;

-- Set aside what an order may cost, and tell `near`, the numbers of the limits that people are to be warned of. Or tell the
-- number of the one that stands against it, when its period ends, and whether that was told before in this period.
CREATE FUNCTION parley_reserve_$V(
  p_turn bigint, p_conversation bigint, p_epoch bigint, p_user text, p_tokens bigint, p_money bigint, p_limits json,
  p_nearly numeric, OUT refused int, OUT until bigint, OUT told boolean, OUT near int[]
) LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  c conversation;
  b reservation;
  l record;
  v_limits parley_limit_$V[] := '{}';
  v_now bigint;
  v_own boolean := false;
  v_entries parley_entry_$V[] := '{}';
  v_told parley_word_$V;
  v_near parley_word_$V[] := '{}';
BEGIN
  PERFORM parley_hold_$V(p_turn, p_conversation, p_epoch);
  v_now := parley_now_$V();
  SELECT * INTO c FROM conversation WHERE id = p_conversation;
  SELECT * INTO b FROM reservation WHERE turn_id = p_turn FOR UPDATE;
  IF FOUND THEN
    v_own := b.epoch = p_epoch;
    -- The turn is counted once more by whoever carries it out now, so what is spent of the lost one is its cost alone.
    v_entries := ARRAY[CASE WHEN v_own THEN parley_void_$V(b) ELSE parley_worst_$V(b, 0) END];
  END IF;
  IF json_array_length(p_limits) > 0 THEN
    SELECT array_agg(o ORDER BY o.number) INTO v_limits
      FROM parley_limits_$V(p_limits, v_now, c.platform, c.workspace, c.channel, p_user) o;
    PERFORM pg_advisory_xact_lock(k.number) FROM (
      SELECT DISTINCT hashtextextended(concat_ws(E'\x1f', 'parley account', o.period, o.platform, o.workspace, o.payer,
        o.subject), 0) AS number FROM unnest(v_limits) o ORDER BY 1) k;
  END IF;
  near := '{}';
  FOR l IN
    SELECT o.*, coalesce(kept.amount, 0) + coalesce(own.amount, 0)
        + CASE o.unit WHEN 'turns' THEN 1 WHEN 'tokens' THEN p_tokens ELSE p_money END AS counted,
      string_to_array(coalesce(kept.told, ''), ' ') AS told
    FROM unnest(v_limits) o
    CROSS JOIN LATERAL (
      SELECT sum(CASE o.unit WHEN 'turns' THEN a.turns + a.reserved_turns
          WHEN 'tokens' THEN a.prompt_tokens + a.completion_tokens + a.reserved_tokens ELSE a.money + a.reserved_money END
        ) AS amount, string_agg(a.told, ' ') AS told
      FROM parley_account_$V(o.period, o.platform, o.workspace, o.payer, o.subject) a) kept
    CROSS JOIN LATERAL (
      SELECT sum(CASE o.unit WHEN 'turns' THEN e.turns + e.reserved_turns
          WHEN 'tokens' THEN e.prompt_tokens + e.completion_tokens + e.reserved_tokens ELSE e.money + e.reserved_money END
        ) AS amount
      FROM unnest(v_entries) e
      WHERE o.period IN (e.day, e.minute) AND (o.payer <> 'user' OR e.user_id = p_user)) own
    ORDER BY o.number
  LOOP
    IF l.counted > l.amount AND NOT (v_own AND l.unit = 'turns') THEN  -- one that was let in is not kept out by its number
      IF refused IS NULL OR (l.period LIKE 'd%' AND v_told.period LIKE 'm%') THEN
        refused := l.number;
        v_told := (l.period, l.platform, l.workspace, l.payer, l.subject, l.unit || '/told/' || l.amount);
        told := v_told.word = ANY (l.told);
      END IF;
    END IF;
    IF l.counted >= p_nearly * l.amount AND l.unit || '/near/' || l.amount <> ALL (l.told) THEN
      near := near || l.number;
      v_near := v_near || ROW(
        l.period, l.platform, l.workspace, l.payer, l.subject, l.unit || '/near/' || l.amount)::parley_word_$V;
    END IF;
  END LOOP;
  IF refused IS NOT NULL THEN
    near := '{}';
    until := CASE WHEN v_told.period LIKE 'd%' THEN (v_now / 86400000000 + 1) * 86400000000
      ELSE (v_now / 60000000 + 1) * 60000000 END;
    IF b.turn_id IS NOT NULL AND NOT v_own THEN
      DELETE FROM reservation WHERE turn_id = p_turn;
    END IF;
    PERFORM parley_post_$V(CASE WHEN v_own THEN '{}' ELSE v_entries END, CASE WHEN told THEN '{}' ELSE ARRAY[v_told] END);
    RETURN;
  END IF;
  v_entries := v_entries || ROW(parley_day_$V(v_now),
    CASE WHEN EXISTS (SELECT 1 FROM unnest(v_limits) o WHERE o.period LIKE 'm%') THEN parley_minute_$V(v_now) ELSE '' END,
    c.platform, c.workspace, c.channel, p_user, 0, 0, 0, 0, 1, p_tokens, p_money)::parley_entry_$V;
  PERFORM parley_put_bill_$V(p_turn, p_epoch, v_entries[cardinality(v_entries)], p_tokens, p_money, v_now);
  PERFORM parley_post_$V(v_entries, v_near);
END $$;

CREATE FUNCTION parley_put_bill_$V(
  p_turn bigint, p_epoch bigint, e parley_entry_$V, p_tokens bigint, p_money bigint, p_now bigint
) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  INSERT INTO reservation (turn_id, epoch, platform, workspace, channel, user_id, day, minute, tokens, money, at)
  VALUES (p_turn, p_epoch, e.platform, e.workspace, e.channel, e.user_id, e.day, e.minute, p_tokens, p_money, p_now)
  ON CONFLICT (turn_id) DO UPDATE SET epoch = excluded.epoch, platform = excluded.platform, workspace = excluded.workspace,
    channel = excluded.channel, user_id = excluded.user_id, day = excluded.day, minute = excluded.minute,
    tokens = excluded.tokens, money = excluded.money, at = excluded.at;
END $$;

-- Charge what a turn cost, in place of what its hold has on the accounts. `p_last`: the hold is over with that, and as the
-- turn is not, it is not counted.
--
-- It comes last in the transaction of whoever has passed the fence; until then nobody touches the turn's columns for tokens.
CREATE FUNCTION parley_charge_$V(
  p_turn bigint, p_conversation bigint, p_epoch bigint, p_user text, p_prompt_tokens bigint, p_completion_tokens bigint,
  p_money bigint, p_last boolean
) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  c conversation;
  b reservation;
  e parley_entry_$V;
  v_now bigint := parley_now_$V();
  v_entries parley_entry_$V[] := '{}';
BEGIN
  SELECT * INTO c FROM conversation WHERE id = p_conversation;
  SELECT * INTO b FROM reservation WHERE turn_id = p_turn FOR UPDATE;
  e := (parley_day_$V(v_now), '', c.platform, c.workspace, c.channel, p_user,
    CASE WHEN p_last THEN 0 ELSE 1 END, p_prompt_tokens, p_completion_tokens, p_money, 0, 0, 0);
  IF b.epoch = p_epoch THEN
    v_entries := ARRAY[parley_void_$V(b)];
    e.day := b.day;  -- the turn stays in the periods in which it was begun
    e.minute := b.minute;
  ELSIF b.epoch IS NOT NULL THEN
    v_entries := ARRAY[parley_worst_$V(b, 0)];
  END IF;
  UPDATE turn SET prompt_tokens = p_prompt_tokens, completion_tokens = p_completion_tokens, money = p_money
    WHERE id = p_turn;
  IF NOT p_last THEN
    PERFORM parley_put_bill_$V(p_turn, p_epoch, e, -1, 0, v_now);
  ELSIF b.epoch IS NOT NULL THEN
    DELETE FROM reservation WHERE turn_id = p_turn;
  END IF;
  PERFORM parley_post_$V(v_entries || e, '{}');
END $$;

-- Has a hold said already what its turn cost?
CREATE FUNCTION parley_is_charged_$V(p_turn bigint, p_epoch bigint) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN EXISTS (SELECT 1 FROM reservation WHERE turn_id = p_turn AND epoch = p_epoch AND tokens = -1);
END $$;

-- Let the bill of a turn that is settled go. What was only set aside may have been spent, and stays.
CREATE FUNCTION parley_close_bill_$V(p_turn bigint) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  DELETE FROM reservation WHERE turn_id = p_turn AND tokens = -1;
END $$;

-- Spend what was set aside by somebody who is gone since: so long ago, so many at most. A hold that is over never comes
-- back, so it is done when somebody asks what was used, and costs those nothing who only ask for more: what is set aside and
-- what is spent count alike against a limit.
CREATE FUNCTION parley_settle_abandoned_$V(p_after bigint, p_most int) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_now bigint := parley_now_$V();
  v_entries parley_entry_$V[];
BEGIN
  WITH gone AS (
    DELETE FROM reservation g WHERE g.turn_id = ANY (ARRAY(
      SELECT r.turn_id FROM reservation r WHERE r.at < v_now - p_after AND NOT EXISTS (
        SELECT 1 FROM turn t JOIN conversation c ON c.id = t.conversation_id
        WHERE t.id = r.turn_id AND c.epoch = r.epoch AND c.lease_until > v_now)
      ORDER BY r.at LIMIT p_most FOR UPDATE OF r SKIP LOCKED))
    RETURNING g AS bill)
  SELECT array_agg(parley_worst_$V(bill, 1)) INTO v_entries FROM gone;
  IF v_entries IS NOT NULL THEN
    PERFORM parley_post_$V(v_entries, '{}');
  END IF;
END $$;

-- Turn what is set aside in a workspace that is gone into charges: everybody's account has it too.
CREATE FUNCTION parley_clear_bills_$V(p_platform text, p_workspace text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_entries parley_entry_$V[];
BEGIN
  WITH gone AS (
    DELETE FROM reservation g WHERE g.platform = p_platform AND g.workspace = p_workspace RETURNING g AS bill)
  SELECT array_agg(parley_worst_$V(bill, 1)) INTO v_entries FROM gone;
  IF v_entries IS NOT NULL THEN
    PERFORM parley_post_$V(v_entries, '{}');
  END IF;
END $$;
