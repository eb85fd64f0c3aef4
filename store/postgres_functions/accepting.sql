-- Taking messages in, and what keeps a turn from being begun.

CREATE FUNCTION parley_is_open_$V(p_conversation bigint) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN EXISTS (SELECT 1 FROM turn WHERE conversation_id = p_conversation AND state = 'queued')
    OR EXISTS (SELECT 1 FROM turn WHERE conversation_id = p_conversation AND state IN ('running', 'delivering'))
    OR EXISTS (SELECT 1 FROM turn WHERE conversation_id = p_conversation AND state = 'cancelled' AND settled_at IS NULL);
END $$;

-- Do operators keep turns of a place from being claimed?
CREATE FUNCTION parley_is_paused_$V(p_platform text, p_workspace text, p_channel text) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN EXISTS (SELECT 1 FROM setting WHERE platform = p_platform AND workspace = p_workspace
      AND channel = ANY (ARRAY[p_channel, '']) AND subject = '' AND name = '$PAUSED' AND value = '$ON')
    OR EXISTS (SELECT 1 FROM setting WHERE platform = '' AND workspace = '' AND channel = '' AND subject = ''
      AND name = '$PAUSED' AND value = '$ON');
END $$;

-- How many turns of a workspace may be held at once; NULL is no limit.
CREATE FUNCTION parley_most_$V(p_platform text, p_workspace text, p_per_workspace int) RETURNS int
LANGUAGE plpgsql STABLE AS $$
BEGIN
  -- As many digits as somebody types: a number that is too large for us would keep everybody's turns from being claimed.
  RETURN coalesce((SELECT least(value::numeric, 2147483647)::int FROM setting WHERE platform = p_platform
    AND workspace = p_workspace AND channel = '' AND subject = '' AND name = '$WORKSPACE_RUNNING'), p_per_workspace);
END $$;

-- How many turns of some workspaces are held, by the two small indexes that have no queued turn in them.
CREATE FUNCTION parley_held_in_$V(p_platform text, p_workspaces text[]) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_now bigint := parley_now_$V();
BEGIN
  RETURN (SELECT count(*) FROM turn t JOIN conversation c ON c.id = t.conversation_id
      WHERE t.state IN ('running', 'delivering') AND c.lease_until > v_now
      AND c.platform = p_platform AND c.workspace = ANY (p_workspaces))
    + (SELECT count(*) FROM turn t JOIN conversation c ON c.id = t.conversation_id
      WHERE t.state = 'cancelled' AND t.settled_at IS NULL AND c.lease_until > v_now
      AND c.platform = p_platform AND c.workspace = ANY (p_workspaces));
END $$;

-- Is there room for one more turn of a workspace? Whoever hears so has the workspace to itself until its transaction ends, so
-- no two begin the last one. Who asks has a conversation locked already, and locks nothing more after this.
CREATE FUNCTION parley_has_room_$V(p_platform text, p_workspace text, p_most int) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  IF p_most IS NULL THEN
    RETURN true;
  END IF;
  PERFORM pg_advisory_xact_lock(hashtextextended('parley running ' || p_platform || ' ' || p_workspace, 0));
  RETURN parley_held_in_$V(p_platform, ARRAY[p_workspace]) < p_most;
END $$;

-- Queue a message's turn, or count the message in with the one that is queued already.
CREATE FUNCTION parley_queue_$V(
  p_conversation bigint, p_address text, p_at bigint, p_position bigint, OUT turn_id bigint, OUT turn_messages int
) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  INSERT INTO turn AS t (conversation_id, state, address, queued_at, since, until, messages,
    queued_platform, queued_workspace, queued_channel)
  SELECT c.id, 'queued', p_address, p_at, p_position, p_position, 1, c.platform, c.workspace, c.channel
    FROM conversation c WHERE c.id = p_conversation
  ON CONFLICT (conversation_id) WHERE state = 'queued' DO UPDATE SET
    address = p_address, since = least(t.since, p_position), messages = t.messages + 1,
    until = CASE WHEN t.messages < $TURN_MESSAGES THEN greatest(t.until, p_position) ELSE t.until END
  RETURNING t.id, t.messages INTO turn_id, turn_messages;
END $$;

-- Where a message would go, for whoever seals it before it is kept: the current conversation, or the number of a new one; and
-- the message's own number.
CREATE FUNCTION parley_numbers_$V(
  p_platform text, p_workspace text, p_channel text, p_thread text, p_user text,
  OUT conversation_id bigint, OUT is_new boolean, OUT message_id bigint
) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  SELECT id INTO conversation_id FROM conversation WHERE platform = p_platform AND workspace = p_workspace
    AND channel = p_channel AND thread = p_thread AND user_id = p_user AND ended_at IS NULL;
  is_new := conversation_id IS NULL;
  IF is_new THEN
    conversation_id := nextval('conversation_id_seq');
  END IF;
  message_id := nextval('message_id_seq');
END $$;

-- Take a message in. With `p_lease`, claim its turn if nothing keeps it waiting. Where texts are sealed, the `p_sealed_...` and
-- `p_message` are what `parley_numbers` said.
CREATE FUNCTION parley_accept_$V(
  p_event text, p_name text, p_platform text, p_workspace text, p_channel text, p_thread text, p_user text,
  p_message_id text, p_position bigint, p_author_id text, p_author_name text, p_text text, p_address text, p_at bigint,
  p_from_bot int, p_files json, p_data bytea[],
  p_sealed int, p_sealed_for bigint, p_sealed_new boolean, p_message bigint,
  p_lease bigint, p_window int, p_per_workspace int, p_holder text
) RETURNS parley_held_$V LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v parley_held_$V;
  w parley_window_$V;
  v_new text[];
  v_last bigint;
  v_lease_until bigint;
  v_now bigint;
  v_begun boolean := false;
  v_messages int := 1;
  v_position bigint;
  v_message bigint;
BEGIN
  WITH told AS (
    INSERT INTO seen (name, at) SELECT n, p_at FROM unnest(ARRAY[p_event, p_name]) n WHERE n <> ''
    ON CONFLICT DO NOTHING RETURNING name)
  SELECT array_agg(name) INTO v_new FROM told;
  IF coalesce(cardinality(v_new), 0) < (CASE WHEN p_event = '' THEN 1 ELSE 2 END) THEN
    -- Nothing is stored of a copy, not even the name that was new about it.
    DELETE FROM seen WHERE name = ANY (v_new);
    RETURN v;
  END IF;
  INSERT INTO conversation AS c (id, platform, workspace, channel, thread, user_id, created_at, active_at, last_position)
  VALUES (CASE WHEN p_sealed_new THEN p_sealed_for ELSE nextval('conversation_id_seq') END,
    p_platform, p_workspace, p_channel, p_thread, p_user, p_at, p_at, coalesce(p_position, 1))
  ON CONFLICT (platform, workspace, channel, thread, user_id) WHERE ended_at IS NULL DO UPDATE SET
    active_at = greatest(c.active_at, p_at),
    last_position = CASE WHEN p_position IS NULL THEN c.last_position + 1 ELSE greatest(c.last_position, p_position) END
  RETURNING c.id, c.last_position, c.epoch, c.lease_until, c.persona, c.sealed
  INTO v.conversation_id, v_last, v.epoch, v_lease_until, v.persona, v.persona_sealed;
  IF p_sealed_for <> v.conversation_id THEN
    RAISE EXCEPTION USING ERRCODE = 'PA002', MESSAGE = 'sealed for another conversation';
  END IF;
  v_position := coalesce(p_position, v_last);
  v_now := parley_now_$V();
  IF p_lease IS NOT NULL AND v_lease_until <= v_now AND NOT parley_is_open_$V(v.conversation_id)
    AND NOT parley_is_paused_$V(p_platform, p_workspace, p_channel)
  THEN
    v_begun := parley_has_room_$V(p_platform, p_workspace, parley_most_$V(p_platform, p_workspace, p_per_workspace));
  END IF;
  IF v_begun THEN
    INSERT INTO turn (conversation_id, state, attempts, address, queued_at, started_at, since, until, messages)
    VALUES (v.conversation_id, 'running', 1, p_address, p_at, v_now, v_position, v_position, 1) RETURNING id INTO v.turn_id;
    v.epoch := v.epoch + 1;
    UPDATE conversation SET epoch = v.epoch, lease_until = v_now + p_lease, holder = p_holder WHERE id = v.conversation_id;
  ELSE
    SELECT q.turn_id, q.turn_messages INTO v.turn_id, v_messages
      FROM parley_queue_$V(v.conversation_id, p_address, p_at, v_position) q;
  END IF;
  INSERT INTO message (id, conversation_id, position, role, turn_id, platform_id, author_id, author_name, text, ending, at,
    from_bot, files, sealed)
  VALUES (coalesce(p_message, nextval('message_id_seq')), v.conversation_id, v_position, 0,
    CASE WHEN v_messages <= $TURN_MESSAGES THEN v.turn_id END, p_message_id, p_author_id, p_author_name, p_text, 'complete',
    p_at, p_from_bot, coalesce(json_array_length(p_files), 0), p_sealed)
  ON CONFLICT (conversation_id, position, role) DO NOTHING RETURNING id INTO v_message;
  IF v_message IS NULL THEN  -- the same place in the order: the same message
    RAISE EXCEPTION USING ERRCODE = 'PA001', MESSAGE = 'known';
  END IF;
  IF p_author_id <> '' AND p_user = '' THEN
    INSERT INTO participant (conversation_id, author_id) VALUES (v.conversation_id, p_author_id) ON CONFLICT DO NOTHING;
  END IF;
  IF p_files IS NOT NULL THEN
    INSERT INTO attachment (message_id, number, name, media_type, size, url, problem, data, sealed)
    SELECT v_message, (f.value->>0)::int, f.value->>1, f.value->>2, (f.value->>3)::bigint, f.value->>4, f.value->>5,
      p_data[f.ordinality], p_sealed
    FROM json_array_elements(p_files) WITH ORDINALITY f;
  END IF;
  IF NOT v_begun THEN
    v.turn_id := NULL;
    RETURN v;
  END IF;
  v.state := 'running';
  v.attempts := 1;
  v.address := p_address;
  v.queued_at := p_at;
  v.error := '';
  v.platform := p_platform;
  v.workspace := p_workspace;
  v.channel := p_channel;
  v.thread := p_thread;
  v.user_id := p_user;
  v.stop := 0;
  v.recovered := false;
  w := parley_read_window_$V(v.conversation_id, v_position, 1, p_window);
  v.messages := w.messages;
  v.files := w.files;
  v.data := w.data;
  RETURN v;
END $$;
