-- Messages that a platform names later: found again, revised, taken out; and what is known of turns.

-- Keep what was read of a file; one whose message was erased meanwhile is not kept.
CREATE FUNCTION parley_keep_attachment_$V(
  p_turn bigint, p_conversation bigint, p_epoch bigint, p_message bigint, p_number int, p_data bytea, p_problem text
) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM parley_hold_$V(p_turn, p_conversation, p_epoch);
  UPDATE attachment SET data = p_data, problem = p_problem WHERE number = p_number
    AND message_id = (SELECT id FROM message WHERE id = p_message AND conversation_id = p_conversation);
END $$;

-- A conversation as a list of the columns of parley_conversation.
CREATE FUNCTION parley_conversation_list_$V(p_conversation bigint) RETURNS json LANGUAGE sql STABLE AS $$
  SELECT json_build_array(id, platform, workspace, channel, thread, user_id, created_at, active_at, ended_at, expired_at,
    persona, sealed)
  FROM conversation WHERE id = p_conversation
$$;

-- Users' messages by their names, the newest first, where an old name was given twice. A channel of "" is any.
CREATE FUNCTION parley_said_$V(p_platform text, p_workspace text, p_channel text, p_id text)
RETURNS TABLE (message_id bigint, conversation_id bigint, turn_id bigint, kept text, channel text) LANGUAGE sql STABLE AS $$
  SELECT m.id, m.conversation_id, m.turn_id, m.text, c.channel
  FROM message m JOIN conversation c ON c.id = m.conversation_id
  WHERE m.platform_id = p_id AND m.platform_id <> '' AND m.role = 0
    AND c.platform = p_platform AND c.workspace = p_workspace AND p_channel IN ('', c.channel)
  ORDER BY m.id DESC
$$;

-- The users' messages of several names.
CREATE FUNCTION parley_all_said_$V(p_platforms text[], p_workspaces text[], p_channels text[], p_ids text[])
RETURNS TABLE (message_id bigint, conversation_id bigint, platform text, workspace text, channel text, id text)
LANGUAGE sql STABLE AS $$
  SELECT DISTINCT s.message_id, s.conversation_id, n.platform, n.workspace, s.channel, n.id
  FROM unnest(p_platforms, p_workspaces, p_channels, p_ids) n(platform, workspace, channel, id),
    LATERAL parley_said_$V(n.platform, n.workspace, n.channel, n.id) s
$$;

-- A user's message, or a part of an answer, the newest where an old name was given twice.
CREATE FUNCTION parley_locate_$V(
  p_platform text, p_workspace text, p_channel text, p_id text, OUT role int, OUT turn_id bigint, OUT conversation json
) LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_conversation bigint;
BEGIN
  role := 0;
  SELECT s.conversation_id, s.turn_id INTO v_conversation, turn_id
    FROM parley_said_$V(p_platform, p_workspace, p_channel, p_id) s LIMIT 1;
  IF NOT FOUND THEN
    role := 1;
    SELECT t.conversation_id, t.id INTO v_conversation, turn_id
      FROM part p JOIN turn t ON t.id = p.turn_id JOIN conversation c ON c.id = t.conversation_id
      WHERE p.platform_id = p_id AND c.platform = p_platform AND c.workspace = p_workspace AND p_channel IN ('', c.channel)
      ORDER BY t.id DESC LIMIT 1;
  END IF;
  conversation := parley_conversation_list_$V(v_conversation);
END $$;

CREATE FUNCTION parley_facts_$V(
  p_turn bigint, OUT conversation json, OUT state text, OUT latest boolean, OUT ending text, OUT authors text[],
  OUT feedback json
) LANGUAGE plpgsql STABLE AS $$
DECLARE
  t turn;
BEGIN
  SELECT * INTO t FROM turn WHERE id = p_turn;
  conversation := parley_conversation_list_$V(t.conversation_id);
  state := t.state;
  latest := NOT EXISTS (SELECT 1 FROM turn l WHERE l.conversation_id = t.conversation_id AND l.id > t.id AND l.messages > 0);
  ending := (SELECT m.ending FROM message m
    WHERE m.conversation_id = t.conversation_id AND m.position = t.answered AND m.role = 1);
  authors := ARRAY(SELECT DISTINCT m.author_id FROM message m
    WHERE m.conversation_id = t.conversation_id AND m.role = 0 AND m.turn_id = t.id
    AND m.position BETWEEN t.since AND t.until);
  feedback := (SELECT json_object_agg(f.user_id, f.value) FROM feedback f WHERE f.turn_id = t.id);
END $$;

-- Replace a text that is `p_old`, and have it answered anew if it was the last question; tell whether it will be. NULL when
-- it is another text by now, or gone.
CREATE FUNCTION parley_revise_$V(p_message bigint, p_conversation bigint, p_old text, p_new text) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  c conversation;
  t turn;
  v_turn bigint;
BEGIN
  SELECT * INTO c FROM conversation WHERE id = p_conversation FOR NO KEY UPDATE;
  UPDATE message SET text = p_new WHERE id = p_message AND text = p_old RETURNING turn_id INTO v_turn;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  IF v_turn IS NULL THEN  -- it waits for a turn, which will read it
    RETURN true;
  END IF;
  SELECT * INTO t FROM turn WHERE id = v_turn;
  IF NOT FOUND THEN
    RETURN false;
  ELSIF t.state = 'queued' THEN
    RETURN true;
  ELSIF c.ended_at IS NOT NULL
    OR EXISTS (SELECT 1 FROM turn l WHERE l.conversation_id = c.id AND l.id > t.id AND l.messages > 0)
  THEN
    RETURN false;
  ELSIF t.state IN ('running', 'delivering') THEN
    UPDATE turn SET stop = $REDO WHERE id = t.id;
  ELSE
    UPDATE turn SET state = 'queued', attempts = 0, stop = 0, error = '', settled_at = NULL, queued_at = parley_now_$V(),
        queued_platform = c.platform, queued_workspace = c.workspace, queued_channel = c.channel
      WHERE id = t.id;
  END IF;
  RETURN true;
END $$;

-- Let a turn of a locked conversation lose messages that were erased, and its answer with the last one; return how many
-- answers went.
CREATE FUNCTION parley_lose_$V(p_turn bigint, p_lost bigint) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  t turn;
  v_gone bigint;
  v_until bigint;
BEGIN
  UPDATE turn SET messages = messages - p_lost WHERE id = p_turn RETURNING * INTO t;
  IF t.messages = 0 THEN
    DELETE FROM message WHERE conversation_id = t.conversation_id AND position = t.answered AND role = 1 AND turn_id = t.id;
    GET DIAGNOSTICS v_gone = ROW_COUNT;
    -- It is in none of the indexes that keep a conversation to one queued and one running turn: any number of replies may
    -- wait to be taken back.
    UPDATE turn SET state = 'cancelled', error = '$RETRACTED', stop = $RETRACT, answered = NULL,
        attempts = CASE WHEN settled_at IS NULL THEN attempts ELSE 0 END,
        settled_at = CASE WHEN state IN ('running', 'delivering', 'undeliverable')
          OR EXISTS (SELECT 1 FROM part WHERE turn_id = t.id) THEN NULL ELSE coalesce(settled_at, parley_now_$V()) END
      WHERE id = t.id;
    RETURN v_gone;
  END IF;
  IF t.state = 'queued' AND t.messages + p_lost > $TURN_MESSAGES THEN  -- there may be room now for some that wait behind it
    v_until := parley_take_again_$V(t.id, t.conversation_id, $TURN_MESSAGES);
  ELSE
    UPDATE turn SET (since, until) = (SELECT min(position), max(position) FROM message m
        WHERE m.conversation_id = t.conversation_id AND m.turn_id = t.id AND m.role = 0
        AND m.position BETWEEN t.since AND t.until)
      WHERE id = t.id RETURNING until INTO v_until;
  END IF;
  PERFORM parley_move_answer_$V(t.conversation_id, t.id, t.answered, v_until);
  RETURN 0;
END $$;

-- Erase users' messages of locked conversations and the answers that came of them alone; return how many of both went.
CREATE FUNCTION parley_take_out_$V(p_messages bigint[]) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_gone bigint := 0;
  r record;
BEGIN
  FOR r IN
    WITH gone AS (
      DELETE FROM message WHERE id = ANY (p_messages) AND role = 0 RETURNING conversation_id, turn_id, author_id)
    SELECT g.conversation_id, count(*) AS lost, array_agg(DISTINCT g.author_id) AS authors,
      -- Without a turn of its own it was counted by the one that is queued.
      coalesce(g.turn_id, (SELECT id FROM turn q WHERE q.conversation_id = g.conversation_id AND q.state = 'queued')) AS turn
    FROM gone g GROUP BY 1, 4 ORDER BY 1, 4
  LOOP
    v_gone := v_gone + r.lost + parley_lose_$V(r.turn, r.lost);
    DELETE FROM participant p WHERE p.conversation_id = r.conversation_id AND p.author_id = ANY (r.authors)
      AND NOT EXISTS (SELECT 1 FROM message m
        WHERE m.conversation_id = r.conversation_id AND m.role = 0 AND m.author_id = p.author_id);
  END LOOP;
  RETURN v_gone;
END $$;

-- Let messages be known already that have these names, so that none of them comes in any more.
CREATE FUNCTION parley_bar_$V(p_names text[]) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  INSERT INTO seen (name, at) SELECT n, parley_now_$V() FROM unnest(p_names) n ON CONFLICT DO NOTHING;
END $$;

-- Erase users' messages for good. Their conversations are locked in the order of their numbers, as by everybody.
CREATE FUNCTION parley_retract_$V(p_messages bigint[], p_stones text[]) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM 1 FROM conversation WHERE id IN (SELECT conversation_id FROM message WHERE id = ANY (p_messages))
    ORDER BY id FOR NO KEY UPDATE;
  PERFORM parley_enter_$V(p_stones, $LAST);
  RETURN parley_take_out_$V(p_messages);
END $$;
