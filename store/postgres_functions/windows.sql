-- What was said, as it is read: messages in the order of DESIGN §4, with the files that come with them.

-- The files of some messages of a conversation, and their data: all of them, or those that come with a window, which are the
-- newest. Data that stay behind are said to be too far back.
CREATE FUNCTION parley_files_$V(p_messages bigint[], p_all boolean, OUT files json, OUT data bytea[])
LANGUAGE sql STABLE AS $$
  WITH kept AS (
    SELECT a.message_id, a.number, a.name, a.media_type, a.size, a.url, a.problem, a.data, m.position,
      octet_length(a.data) - CASE WHEN a.sealed = 0 THEN 0 ELSE $OVERHEAD END > $SMALL_FILE AS large
    FROM attachment a JOIN message m ON m.id = a.message_id WHERE a.message_id = ANY (p_messages)),
  ranked AS (
    SELECT *, row_number() OVER (PARTITION BY large ORDER BY position DESC, number DESC) AS rank FROM kept),
  chosen AS (
    SELECT *, large IS NOT NULL AND (p_all OR rank <= CASE WHEN large THEN $LARGE_FILES ELSE $SMALL_FILES END) AS taken
    FROM ranked),
  placed AS (
    SELECT *, count(*) FILTER (WHERE taken) OVER (ORDER BY message_id, number) AS place FROM chosen)
  SELECT
    json_agg(json_build_array(message_id, number, name, media_type, size, url,
      CASE WHEN taken THEN '' WHEN large IS NULL THEN problem ELSE '$TOO_FAR_BACK' END, CASE WHEN taken THEN place - 1 END)
      ORDER BY message_id, number),
    array_agg(data ORDER BY message_id, number) FILTER (WHERE taken)
  FROM placed
$$;

-- The last messages before a place in the order.
CREATE FUNCTION parley_read_window_$V(p_conversation bigint, p_until bigint, p_role int, p_count int)
RETURNS parley_window_$V LANGUAGE plpgsql STABLE AS $$
DECLARE
  w parley_window_$V;
  v_with_files bigint[];
BEGIN
  SELECT json_agg(json_build_array(id, conversation_id, role, position, author_id, author_name, text, ending, turn_id, at,
      from_bot, platform_id) ORDER BY position, role), array_agg(id) FILTER (WHERE m.files > 0)
    INTO w.messages, v_with_files
    FROM (SELECT * FROM message WHERE conversation_id = p_conversation AND (position, role) < (p_until, p_role)
      ORDER BY position DESC, role DESC LIMIT p_count) m;
  IF v_with_files IS NOT NULL THEN
    SELECT f.files, f.data INTO w.files, w.data FROM parley_files_$V(v_with_files, false) f;
  END IF;
  RETURN w;
END $$;

CREATE FUNCTION parley_recent_$V(p_conversation bigint, p_count int) RETURNS parley_window_$V LANGUAGE plpgsql STABLE AS $$
DECLARE
  w parley_window_$V := parley_read_window_$V(p_conversation, $LAST, 0, p_count);
BEGIN
  IF w.messages IS NULL AND NOT EXISTS (SELECT 1 FROM conversation WHERE id = p_conversation) THEN
    PERFORM parley_not_found_$V(p_conversation);
  END IF;
  RETURN w;
END $$;
