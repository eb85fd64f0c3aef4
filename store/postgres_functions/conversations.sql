-- Conversations: made, told something, ended, and erased when their time is up.

CREATE FUNCTION parley_tell_$V(c conversation) RETURNS parley_conversation_$V LANGUAGE sql IMMUTABLE AS $$
  SELECT c.id, c.platform, c.workspace, c.channel, c.thread, c.user_id, c.created_at, c.active_at, c.ended_at, c.expired_at,
    c.persona, c.sealed::int
$$;

CREATE FUNCTION parley_find_$V(p_platform text, p_workspace text, p_channel text, p_thread text, p_user text)
RETURNS parley_conversation_$V LANGUAGE plpgsql STABLE AS $$
DECLARE
  c conversation;
BEGIN
  SELECT * INTO c FROM conversation WHERE platform = p_platform AND workspace = p_workspace AND channel = p_channel
    AND thread = p_thread AND user_id = p_user AND ended_at IS NULL;
  RETURN parley_tell_$V(c);
END $$;

CREATE FUNCTION parley_get_or_create_$V(
  p_platform text, p_workspace text, p_channel text, p_thread text, p_user text, p_at bigint
) RETURNS parley_conversation_$V LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  c conversation;
BEGIN
  LOOP
    SELECT * INTO c FROM conversation WHERE platform = p_platform AND workspace = p_workspace AND channel = p_channel
      AND thread = p_thread AND user_id = p_user AND ended_at IS NULL;
    EXIT WHEN FOUND;  -- else it was made, or has ended, since the look
    INSERT INTO conversation (platform, workspace, channel, thread, user_id, created_at, active_at, last_position)
    VALUES (p_platform, p_workspace, p_channel, p_thread, p_user, p_at, p_at, 0)
    ON CONFLICT (platform, workspace, channel, thread, user_id) WHERE ended_at IS NULL DO NOTHING;
  END LOOP;
  RETURN parley_tell_$V(c);
END $$;

CREATE FUNCTION parley_append_$V(
  p_conversation bigint, p_role int, p_text text, p_sealed int, p_at bigint, OUT id bigint, OUT "position" bigint
) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  UPDATE conversation c SET last_position = last_position + 1, active_at = greatest(active_at, p_at)
    WHERE c.id = p_conversation RETURNING last_position INTO "position";
  IF NOT FOUND THEN
    PERFORM parley_not_found_$V(p_conversation);
  END IF;
  INSERT INTO message AS m (conversation_id, position, role, turn_id, platform_id, author_id, author_name, text, ending, at,
    sealed)
  VALUES (p_conversation, "position", p_role, 0, '', '', '', p_text, 'complete', p_at, p_sealed) RETURNING m.id INTO id;
END $$;

CREATE FUNCTION parley_end_$V(p_conversation bigint, p_at bigint) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  UPDATE conversation SET ended_at = coalesce(ended_at, p_at) WHERE id = p_conversation;
  IF NOT FOUND THEN
    PERFORM parley_not_found_$V(p_conversation);
  END IF;
END $$;

-- Look at the next conversations behind `p_since_...`, of one spot or, with a platform of NULL, of all; and mark those whose
-- time is up. What somebody has locked is in use.
CREATE FUNCTION parley_expire_$V(
  p_before bigint, p_at bigint, p_limit int, p_platform text, p_workspace text, p_channel text,
  p_but_platforms text[], p_but_workspaces text[], p_but_channels text[],
  p_since_id bigint, p_since_active bigint, p_since_channel text,
  OUT expired bigint, OUT looked_at int, OUT more boolean, OUT last_id bigint, OUT last_active bigint, OUT last_channel text
) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_ids bigint[];
BEGIN
  IF p_platform IS NULL THEN
    v_ids := ARRAY(SELECT id FROM conversation WHERE expired_at IS NULL AND active_at < p_before
      AND (active_at, id) > (p_since_active, p_since_id) ORDER BY active_at, id LIMIT p_limit + 1);
  ELSIF p_channel = '' THEN
    v_ids := ARRAY(SELECT id FROM conversation WHERE platform = p_platform AND workspace = p_workspace
      AND (channel, id) > (p_since_channel, p_since_id) ORDER BY channel, id LIMIT p_limit + 1);
  ELSE
    v_ids := ARRAY(SELECT id FROM conversation WHERE platform = p_platform AND workspace = p_workspace
      AND channel = p_channel AND id > p_since_id ORDER BY id LIMIT p_limit + 1);
  END IF;
  more := cardinality(v_ids) > p_limit;
  v_ids := v_ids[1:p_limit];
  looked_at := cardinality(v_ids);
  SELECT id, active_at, channel INTO last_id, last_active, last_channel FROM conversation WHERE id = v_ids[looked_at];
  v_ids := ARRAY(SELECT id FROM conversation WHERE id = ANY (v_ids) AND expired_at IS NULL AND active_at < p_before
    FOR NO KEY UPDATE SKIP LOCKED);
  -- What had ended before did so before it expired, if only by a microsecond: taking its expiry back goes by that.
  UPDATE conversation c SET expired_at = p_at,
      ended_at = CASE WHEN ended_at IS NULL THEN p_at ELSE least(ended_at, p_at - 1) END
    WHERE id = ANY (v_ids) AND active_at < p_before AND expired_at IS NULL
    AND NOT EXISTS (SELECT 1 FROM unnest(p_but_platforms, p_but_workspaces, p_but_channels) b(platform, workspace, channel)
      WHERE b.platform = c.platform AND b.workspace = c.workspace AND b.channel IN ('', c.channel))
    AND NOT EXISTS (SELECT 1 FROM turn WHERE conversation_id = c.id AND settled_at IS NULL);
  GET DIAGNOSTICS expired = ROW_COUNT;
END $$;

-- Erase at most so many rows of what expired before a time. One of which a reply is being taken back at this moment goes with
-- the next sweep. Watermarks of threads and direct messages that rest go with the last conversation there: there is one more
-- for every thread that ever was. Channels of a workspace are few and stay, until they are gone.
CREATE FUNCTION parley_purge_$V(p_before bigint, p_limit int) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_now bigint := parley_now_$V();
  v_gone bigint := 0;
  v_went bigint;
  c conversation;
BEGIN
  FOR c IN SELECT * FROM conversation WHERE expired_at < p_before AND lease_until <= v_now
    ORDER BY expired_at LIMIT p_limit FOR UPDATE SKIP LOCKED
  LOOP
    DELETE FROM message WHERE id IN
      (SELECT id FROM message WHERE conversation_id = c.id ORDER BY position, role LIMIT p_limit - v_gone);
    GET DIAGNOSTICS v_went = ROW_COUNT;
    v_gone := v_gone + v_went;
    EXIT WHEN v_gone >= p_limit;
    DELETE FROM turn WHERE id IN (SELECT id FROM turn WHERE conversation_id = c.id ORDER BY id LIMIT p_limit - v_gone);
    GET DIAGNOSTICS v_went = ROW_COUNT;
    v_gone := v_gone + v_went;
    EXIT WHEN v_gone >= p_limit;
    DELETE FROM conversation WHERE id = c.id;
    v_gone := v_gone + 1;
    IF c.thread <> '' OR c.workspace = '' THEN
      DELETE FROM watermark w WHERE w.platform = c.platform AND w.workspace = c.workspace AND w.channel = c.channel
        AND w.thread = c.thread AND w.at < p_before
        AND NOT EXISTS (SELECT 1 FROM conversation k WHERE k.platform = c.platform AND k.workspace = c.workspace
          AND k.channel = c.channel AND k.thread = c.thread AND k.ended_at IS NULL);
    END IF;
    EXIT WHEN v_gone >= p_limit;
  END LOOP;
  RETURN v_gone;
END $$;

CREATE FUNCTION parley_status_$V(OUT queued bigint, OUT held bigint, OUT oldest bigint, OUT server text)
LANGUAGE sql STABLE AS $$
  SELECT count(*) FILTER (WHERE state = 'queued'), count(*) FILTER (WHERE state <> 'queued'),
    min(queued_at) FILTER (WHERE state = 'queued'), current_setting('server_version')
  FROM turn WHERE settled_at IS NULL
$$;

-- Only a row that changes proves that the server can write.
CREATE FUNCTION parley_check_$V() RETURNS void LANGUAGE sql VOLATILE AS $$
  UPDATE alembic_version SET version_num = version_num
$$;
