-- Erasing so that it stays gone: what was erased is written down under names that say nothing (store/tombstones.py), in the
-- transaction that erases it.

CREATE FUNCTION parley_enter_$V(p_names text[], p_until bigint) RETURNS void LANGUAGE sql VOLATILE AS $$
  INSERT INTO forgotten AS f (name, until, at)
  SELECT n, p_until, parley_now_$V() FROM (SELECT DISTINCT unnest(p_names) n ORDER BY 1) named
  ON CONFLICT (name) DO UPDATE SET until = excluded.until, at = excluded.at WHERE excluded.until > f.until
$$;

CREATE FUNCTION parley_tombstones_$V() RETURNS TABLE (name text, until bigint, at bigint) LANGUAGE sql STABLE AS $$
  SELECT name, until, at FROM forgotten
$$;

-- The keys of the store's tombstones. It has one: of all who bring one at once, the first.
CREATE FUNCTION parley_tombstone_keys_$V(p_new text) RETURNS TABLE (name text, until bigint, at bigint)
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  IF NOT EXISTS (SELECT 1 FROM forgotten f WHERE starts_with(f.name, 'key ')) THEN
    PERFORM pg_advisory_xact_lock(hashtextextended('parley tombstone key', 0));
    INSERT INTO forgotten (name, until, at) SELECT p_new, 0, parley_now_$V()
      WHERE NOT EXISTS (SELECT 1 FROM forgotten f WHERE starts_with(f.name, 'key '));
  END IF;
  RETURN QUERY SELECT f.name, f.until, f.at FROM forgotten f WHERE starts_with(f.name, 'key ');
END $$;

-- Tombstones of another copy of the store: what they stand for is still to be erased from this one, so they are due.
CREATE FUNCTION parley_put_back_$V(p_names text[], p_untils bigint[], p_ats bigint[]) RETURNS void
LANGUAGE sql VOLATILE AS $$
  INSERT INTO forgotten AS f (name, until, at)
  SELECT CASE WHEN starts_with(s.name, 'key ') THEN '' ELSE '$DUE' END || s.name, s.until, coalesce(s.at, parley_now_$V())
  FROM unnest(p_names, p_untils, p_ats) s(name, until, at)
  WHERE NOT EXISTS (SELECT 1 FROM forgotten k WHERE k.name = s.name AND k.until >= s.until)
  ORDER BY 1
  ON CONFLICT (name) DO UPDATE SET until = excluded.until WHERE excluded.until > f.until
$$;

-- What was due is erased: its tombstones are entered, and those of them that bar what is delivered again.
CREATE FUNCTION parley_done_$V(p_names text[], p_untils bigint[], p_bars boolean[]) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  s record;
BEGIN
  FOR s IN SELECT * FROM unnest(p_names, p_untils, p_bars) u(name, until, bars) ORDER BY name LOOP
    PERFORM parley_enter_$V(ARRAY[s.name] || CASE WHEN s.bars THEN ARRAY['$BARRED' || s.name] END, s.until);
    DELETE FROM forgotten WHERE name = '$DUE' || s.name AND until <= s.until;
  END LOOP;
END $$;

-- Drop tombstones that are older than any copy; keys stay, and what is due.
CREATE FUNCTION parley_drop_tombstones_$V(p_kept bigint) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_gone bigint;
BEGIN
  DELETE FROM forgotten
    WHERE at < parley_now_$V() - p_kept AND NOT starts_with(name, 'key ') AND NOT starts_with(name, '$DUE');
  GET DIAGNOSTICS v_gone = ROW_COUNT;
  RETURN v_gone;
END $$;

-- What a conversation's tombstones are named by.
CREATE FUNCTION parley_erasable_$V(
  p_conversation bigint, OUT platform text, OUT workspace text, OUT channel text, OUT thread text, OUT user_id text,
  OUT created_at bigint
) LANGUAGE sql STABLE AS $$
  SELECT platform, workspace, channel, thread, user_id, created_at FROM conversation WHERE id = p_conversation
$$;

-- Erase a conversation, and return how many messages went. `p_place` names all that was said under its key: what the platform
-- still has of it was said until it was last active. Without names nothing is written down.
CREATE FUNCTION parley_erase_$V(p_conversation bigint, p_name text, p_place text) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_active_at bigint;
  v_gone bigint;
BEGIN
  SELECT active_at INTO v_active_at FROM conversation WHERE id = p_conversation FOR UPDATE;
  IF NOT FOUND THEN
    RETURN 0;
  END IF;
  IF p_name <> '' THEN
    PERFORM parley_enter_$V(ARRAY[p_name], 0), parley_enter_$V(ARRAY[p_place], v_active_at);
  END IF;
  DELETE FROM message WHERE conversation_id = p_conversation;
  GET DIAGNOSTICS v_gone = ROW_COUNT;
  DELETE FROM conversation WHERE id = p_conversation;
  RETURN v_gone;
END $$;

-- Let nobody see a locked conversation any more: it is erased in portions, before all others, and its holder loses the lease.
CREATE FUNCTION parley_give_up_$V(p_conversation bigint, p_expired bigint) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_now bigint := parley_now_$V();
BEGIN
  PERFORM parley_settle_queued_$V(p_conversation, 'cancelled');
  UPDATE turn SET state = 'cancelled', settled_at = v_now WHERE conversation_id = p_conversation AND settled_at IS NULL;
  UPDATE conversation SET expired_at = p_expired, ended_at = coalesce(ended_at, v_now), epoch = epoch + 1, lease_until = 0,
    persona = '', sealed = 0 WHERE id = p_conversation;
END $$;

-- Erase a portion of what a person said until a time, or give it up: of the conversations behind `p_after`. `next` is where
-- the next portion begins, NULL when nothing is left.
CREATE FUNCTION parley_forget_portion_$V(
  p_platform text, p_workspace text, p_person text, p_until bigint, p_after bigint, p_conversations int, p_messages int,
  p_expired bigint, OUT whole bigint, OUT gone bigint, OUT next bigint
) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  c conversation;
  v_ids bigint[];
  v_said bigint[];
  v_one bigint;
BEGIN
  whole := 0;
  gone := 0;
  v_ids := ARRAY(SELECT id FROM parley_of_person_$V(p_platform, p_workspace, p_person)
    WHERE expired_at IS DISTINCT FROM 0 AND id > p_after ORDER BY id LIMIT p_conversations);
  FOREACH v_one IN ARRAY v_ids LOOP
    SELECT * INTO c FROM conversation WHERE id = v_one AND expired_at IS DISTINCT FROM 0 FOR NO KEY UPDATE;
    CONTINUE WHEN NOT FOUND;  -- somebody erased it since the look
    IF parley_is_alone_$V(c.id, p_person) AND (c.active_at <= p_until OR (
      SELECT count(*) FILTER (WHERE at <= p_until) > 0 AND count(*) FILTER (WHERE at > p_until) = 0
      FROM message WHERE conversation_id = c.id AND role = 0))
    THEN
      gone := gone + (SELECT count(*) FROM message WHERE conversation_id = c.id);
      whole := whole + 1;
      PERFORM parley_give_up_$V(c.id, p_expired);
      CONTINUE;
    END IF;
    v_said := ARRAY(SELECT id FROM message
      WHERE conversation_id = c.id AND role = 0 AND author_id = p_person AND at <= p_until LIMIT p_messages);
    gone := gone + parley_take_out_$V(v_said);
    IF cardinality(v_said) >= p_messages THEN
      next := c.id - 1;
      RETURN;
    ELSIF gone >= p_messages THEN
      next := c.id;
      RETURN;
    END IF;
  END LOOP;
  IF cardinality(v_ids) = p_conversations THEN
    next := v_ids[p_conversations];
  END IF;
END $$;

-- Erase a portion of what a person thinks of answers. People click on answers of conversations in which they said nothing, so
-- all that was clicked is looked through. Returns where the next portion begins, NULL when nothing is left.
CREATE FUNCTION parley_forget_feedback_$V(
  p_platform text, p_workspace text, p_person text, p_until bigint, p_after bigint, p_limit int
) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_last bigint := (SELECT max(turn_id) FROM
    (SELECT turn_id FROM feedback WHERE turn_id > p_after ORDER BY turn_id LIMIT p_limit) looked_at);
BEGIN
  DELETE FROM feedback f USING turn t, conversation c
    WHERE f.turn_id > p_after AND f.turn_id <= v_last AND f.user_id = p_person AND f.at <= p_until AND t.id = f.turn_id
    AND c.id = t.conversation_id AND c.platform = p_platform AND c.workspace = p_workspace;
  RETURN v_last;
END $$;

-- Erase a person's accounts of the periods before these: days, and minutes.
CREATE FUNCTION parley_forget_accounts_$V(p_platform text, p_workspace text, p_person text, p_day text, p_minute text)
RETURNS void LANGUAGE sql VOLATILE AS $$
  DELETE FROM account WHERE payer = 'user' AND platform = p_platform AND workspace = p_workspace AND subject = p_person
    AND period IN (SELECT k.period FROM parley_periods_known_$V() k
      WHERE k.period >= 'd' COLLATE "C" AND k.period < p_day COLLATE "C"
      OR k.period >= 'm' COLLATE "C" AND k.period < p_minute COLLATE "C")
$$;

-- From period to period, since an account is found by its period first: a seek for each, of some hundred.
CREATE FUNCTION parley_periods_known_$V() RETURNS TABLE (period text) LANGUAGE sql STABLE AS $$
  WITH RECURSIVE known (period) AS
    (SELECT min(a.period) FROM account a UNION ALL
     SELECT (SELECT min(a.period) FROM account a WHERE a.period > known.period) FROM known WHERE known.period IS NOT NULL)
  SELECT known.period FROM known WHERE known.period IS NOT NULL
$$;

-- What an older copy of the store may hold of what was erased: looked through in portions.
CREATE FUNCTION parley_conversations_after_$V(p_after bigint, p_limit int)
RETURNS TABLE (id bigint, platform text, workspace text, channel text, thread text, user_id text, created_at bigint)
LANGUAGE sql STABLE AS $$
  SELECT id, platform, workspace, channel, thread, user_id, created_at FROM conversation WHERE id > p_after
  ORDER BY id LIMIT p_limit
$$;

CREATE FUNCTION parley_messages_after_$V(p_after bigint, p_limit int)
RETURNS TABLE (id bigint, platform text, workspace text, channel text, platform_id text, role int) LANGUAGE sql STABLE AS $$
  SELECT m.id, c.platform, c.workspace, c.channel, m.platform_id, m.role::int
  FROM (SELECT * FROM message WHERE message.id > p_after ORDER BY message.id LIMIT p_limit) m
  JOIN conversation c ON c.id = m.conversation_id ORDER BY m.id
$$;

CREATE FUNCTION parley_everybody_$V() RETURNS TABLE (platform text, workspace text, person text) LANGUAGE sql STABLE AS $$
  SELECT platform, workspace, user_id FROM conversation WHERE user_id <> '' UNION
  SELECT c.platform, c.workspace, p.author_id FROM participant p JOIN conversation c ON c.id = p.conversation_id UNION
  SELECT c.platform, c.workspace, f.user_id FROM feedback f JOIN turn t ON t.id = f.turn_id
    JOIN conversation c ON c.id = t.conversation_id UNION
  SELECT platform, workspace, subject FROM account WHERE payer = 'user'
$$;
