-- Conversations as operators and people see them, and how long they are kept. One whose `expired_at` is 0 was given up: it is
-- being erased in portions, and nobody sees it any more.

-- List a workspace's conversations, the newest first: of a user, of a channel, in a state; "" leaves nothing out.
CREATE FUNCTION parley_conversations_$V(
  p_platform text, p_workspace text, p_user text, p_channel text, p_state text, p_before bigint, p_limit int
) RETURNS TABLE (conversation json, messages bigint) LANGUAGE plpgsql STABLE
-- A plan for any workspace would be a bad one: some have most of the conversations, and most have few.
SET plan_cache_mode = force_custom_plan AS $$
DECLARE
  v_ids bigint[];
BEGIN
  IF p_user <> '' THEN
    v_ids := ARRAY(SELECT c.id FROM parley_of_person_$V(p_platform, p_workspace, p_user) c
      WHERE p_channel IN ('', c.channel) AND c.id < p_before AND parley_is_in_state_$V(c.ended_at, c.expired_at, p_state)
      ORDER BY c.id DESC LIMIT p_limit);
  ELSIF p_channel <> '' THEN
    v_ids := ARRAY(SELECT c.id FROM conversation c
      WHERE c.platform = p_platform AND c.workspace = p_workspace AND c.channel = p_channel AND c.id < p_before
      AND parley_is_in_state_$V(c.ended_at, c.expired_at, p_state) ORDER BY c.id DESC LIMIT p_limit);
  ELSE
    v_ids := ARRAY(SELECT c.id FROM conversation c
      WHERE c.platform = p_platform AND c.workspace = p_workspace AND c.id < p_before
      AND parley_is_in_state_$V(c.ended_at, c.expired_at, p_state) ORDER BY c.id DESC LIMIT p_limit);
  END IF;
  RETURN QUERY SELECT parley_conversation_list_$V(i), parley_count_messages_$V(i) FROM unnest(v_ids) i;
END $$;

CREATE FUNCTION parley_is_in_state_$V(p_ended_at bigint, p_expired_at bigint, p_state text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE p_state
    WHEN 'current' THEN p_ended_at IS NULL
    WHEN 'ended' THEN p_ended_at IS NOT NULL AND p_expired_at IS NULL
    WHEN 'expired' THEN coalesce(p_expired_at > 0, false)
    ELSE p_expired_at IS DISTINCT FROM 0 END
$$;

CREATE FUNCTION parley_record_$V(
  p_platform text, p_workspace text, p_conversation bigint,
  OUT conversation json, OUT messages bigint, OUT people text[], OUT turns json
) LANGUAGE plpgsql STABLE AS $$
DECLARE
  c conversation;
BEGIN
  SELECT * INTO c FROM conversation k WHERE k.id = p_conversation AND k.platform = p_platform AND k.workspace = p_workspace
    AND k.expired_at IS DISTINCT FROM 0;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  conversation := parley_conversation_list_$V(c.id);
  messages := parley_count_messages_$V(c.id);
  people := ARRAY(SELECT author_id COLLATE "C" FROM participant WHERE conversation_id = c.id UNION
    SELECT c.user_id COLLATE "C" WHERE c.user_id <> ''
      AND EXISTS (SELECT 1 FROM message WHERE conversation_id = c.id AND role = 0 AND author_id <> '')
    ORDER BY 1);
  turns := (SELECT json_agg(json_build_array(t.id, t.state, t.attempts, t.messages,
      (SELECT count(*) FROM part WHERE turn_id = t.id), t.queued_at, t.started_at, t.shown_at, t.settled_at, t.model,
      t.prompt_tokens, t.completion_tokens, t.money, t.error) ORDER BY t.id DESC)
    FROM (SELECT * FROM turn WHERE conversation_id = c.id ORDER BY id DESC LIMIT $TURNS_SHOWN) t);
END $$;

-- End a conversation as if its time were up, with what is open of it.
CREATE FUNCTION parley_expire_now_$V(p_platform text, p_workspace text, p_conversation bigint, p_at bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  -- What had ended before did so before it expired, if only by a microsecond: taking its expiry back goes by that.
  UPDATE conversation SET expired_at = p_at,
      ended_at = CASE WHEN ended_at IS NULL THEN p_at ELSE least(ended_at, p_at - 1) END
    WHERE id = p_conversation AND platform = p_platform AND workspace = p_workspace AND expired_at IS NULL;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  PERFORM parley_stop_$V(p_conversation);
  RETURN true;
END $$;

-- Take back that a conversation expired.
CREATE FUNCTION parley_restore_$V(p_platform text, p_workspace text, p_conversation bigint, p_at bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  c conversation;
BEGIN
  SELECT * INTO c FROM conversation WHERE id = p_conversation AND platform = p_platform AND workspace = p_workspace
    AND expired_at > 0 FOR UPDATE;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  LOOP
    BEGIN
      UPDATE conversation SET expired_at = NULL, active_at = greatest(active_at, p_at),
        ended_at = CASE WHEN ended_at < expired_at OR EXISTS (SELECT 1 FROM conversation n
          WHERE n.platform = c.platform AND n.workspace = c.workspace AND n.channel = c.channel AND n.thread = c.thread
          AND n.user_id = c.user_id AND (n.id > c.id OR n.ended_at IS NULL)) THEN ended_at END
        WHERE id = c.id;
      RETURN true;
    EXCEPTION WHEN unique_violation THEN
      NULL;  -- another one was begun in its place in this very moment: with the next look it is there
    END;
  END LOOP;
END $$;

CREATE FUNCTION parley_extend_$V(p_conversation bigint, p_at bigint) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  UPDATE conversation SET active_at = greatest(active_at, p_at) WHERE id = p_conversation AND expired_at IS NULL;
  IF NOT FOUND THEN
    PERFORM parley_not_found_$V(p_conversation);
  END IF;
END $$;

-- Keep what people chose as the model's persona; tell whether it replaces another one.
CREATE FUNCTION parley_put_persona_$V(p_conversation bigint, p_persona text, p_sealed int) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_before text;
BEGIN
  SELECT persona INTO v_before FROM conversation WHERE id = p_conversation FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    PERFORM parley_not_found_$V(p_conversation);
  END IF;
  UPDATE conversation SET persona = p_persona, sealed = p_sealed WHERE id = p_conversation;
  RETURN v_before <> '';
END $$;

CREATE FUNCTION parley_last_said_$V(p_conversation bigint, p_person text)
RETURNS TABLE (platform text, workspace text, channel text, id text) LANGUAGE plpgsql STABLE AS $$
DECLARE
  t turn;
BEGIN
  SELECT * INTO t FROM turn o WHERE o.conversation_id = p_conversation AND o.messages > 0 ORDER BY o.id DESC LIMIT 1;
  RETURN QUERY SELECT c.platform, c.workspace, c.channel, m.platform_id
    FROM message m JOIN conversation c ON c.id = m.conversation_id
    WHERE m.conversation_id = p_conversation AND m.role = 0 AND m.author_id = p_person AND m.platform_id <> ''
      AND (m.turn_id IS NULL OR m.turn_id = t.id AND m.position BETWEEN t.since AND t.until)
    ORDER BY m.position;
END $$;

CREATE FUNCTION parley_conversations_with_$V(
  p_platform text, p_workspace text, p_person text, p_limit int, p_after bigint
) RETURNS SETOF parley_conversation_$V LANGUAGE sql STABLE AS $$
  SELECT id, platform, workspace, channel, thread, user_id, created_at, active_at, ended_at, expired_at, persona, sealed::int
  FROM parley_of_person_$V(p_platform, p_workspace, p_person)
  WHERE expired_at IS DISTINCT FROM 0 AND id > p_after ORDER BY id LIMIT p_limit
$$;

-- Is a conversation a person's alone? It is by its key, or when they spoke in it and nobody else did.
CREATE FUNCTION parley_is_alone_$V(p_conversation bigint, p_person text) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT EXISTS (SELECT 1 FROM conversation c WHERE c.id = p_conversation AND CASE WHEN c.user_id <> '' THEN
    c.user_id = p_person ELSE
    EXISTS (SELECT 1 FROM participant WHERE conversation_id = c.id AND author_id = p_person)
    AND NOT EXISTS (SELECT 1 FROM participant WHERE conversation_id = c.id AND author_id <> p_person) END)
$$;

-- A person's share of a conversation, with all files: all of it where nobody else spoke, else what they said and the answers
-- to that.
CREATE FUNCTION parley_said_in_$V(p_conversation bigint, p_person text, p_limit int, p_after bigint)
RETURNS parley_window_$V LANGUAGE plpgsql STABLE AS $$
DECLARE
  w parley_window_$V;
  v_alone boolean := parley_is_alone_$V(p_conversation, p_person);
  v_with_files bigint[];
BEGIN
  SELECT json_agg(json_build_array(s.id, s.conversation_id, s.role, s.position, s.author_id, s.author_name, s.text, s.ending,
      s.turn_id, s.at, s.from_bot, s.platform_id) ORDER BY s.id), array_agg(s.id) FILTER (WHERE s.files > 0)
    INTO w.messages, v_with_files
    FROM (SELECT * FROM message m WHERE m.conversation_id = p_conversation AND m.id > p_after
      AND (v_alone OR CASE WHEN m.role = 0 THEN m.author_id = p_person ELSE EXISTS
        (SELECT 1 FROM turn t JOIN message q ON q.conversation_id = p_conversation AND q.position BETWEEN t.since AND t.until
         WHERE t.id = m.turn_id AND q.role = 0 AND q.turn_id = t.id AND q.author_id = p_person) END)
      ORDER BY m.id LIMIT p_limit) s;
  IF v_with_files IS NOT NULL THEN
    SELECT f.files, f.data INTO w.files, w.data FROM parley_files_$V(v_with_files, true) f;
  END IF;
  RETURN w;
END $$;

-- A portion of what a person thinks of answers, and where the next one begins, NULL after the last. People click on answers
-- of conversations in which they said nothing, so all that was clicked is looked through.
CREATE FUNCTION parley_opinions_$V(
  p_platform text, p_workspace text, p_person text, p_after bigint, p_limit int, OUT opinions json, OUT next bigint
) LANGUAGE plpgsql STABLE AS $$
BEGIN
  next := (SELECT max(s.turn_id) FROM
    (SELECT turn_id FROM feedback WHERE turn_id > p_after ORDER BY turn_id LIMIT p_limit) s);
  opinions := (SELECT json_agg(json_build_array(f.turn_id, t.conversation_id, f.value, f.at) ORDER BY f.turn_id)
    FROM feedback f JOIN turn t ON t.id = f.turn_id JOIN conversation c ON c.id = t.conversation_id
    WHERE f.turn_id > p_after AND f.turn_id <= next AND f.user_id = p_person AND c.platform = p_platform
      AND c.workspace = p_workspace AND c.expired_at IS DISTINCT FROM 0);
END $$;
