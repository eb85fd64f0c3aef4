-- Places: how far they were read, and what happens when one is gone. An absent channel or thread stands for any.

CREATE FUNCTION parley_close_$V(p_platform text, p_workspace text, p_channel text, p_thread text, p_at bigint)
RETURNS TABLE (conversation bigint) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  c conversation;
BEGIN
  FOR c IN SELECT * FROM conversation k
    WHERE platform = p_platform AND workspace = p_workspace AND p_channel IN ('', channel) AND p_thread IN ('', thread)
      AND (ended_at IS NULL OR EXISTS (SELECT 1 FROM turn WHERE conversation_id = k.id AND state = 'queued'))
    ORDER BY id FOR NO KEY UPDATE
  LOOP
    PERFORM parley_settle_queued_$V(c.id, 'undeliverable');
    IF c.ended_at IS NULL THEN
      UPDATE conversation SET ended_at = p_at WHERE id = c.id;
      conversation := c.id;
      RETURN NEXT;
    END IF;
  END LOOP;
END $$;

CREATE FUNCTION parley_watermarks_$V(p_platform text)
RETURNS TABLE (workspace text, channel text, thread text, "position" bigint) LANGUAGE sql STABLE AS $$
  SELECT workspace, channel, thread, position FROM watermark WHERE platform = p_platform ORDER BY position DESC
$$;

CREATE FUNCTION parley_mark_$V(
  p_platform text, p_workspaces text[], p_channels text[], p_threads text[], p_positions bigint[], p_at bigint
) RETURNS void LANGUAGE sql VOLATILE AS $$
  INSERT INTO watermark AS w (platform, workspace, channel, thread, position, at)
  SELECT p_platform, workspace, channel, thread, max(position), p_at
  FROM unnest(p_workspaces, p_channels, p_threads, p_positions) m(workspace, channel, thread, position)
  GROUP BY workspace, channel, thread ORDER BY workspace, channel, thread  -- as everybody does: nobody waits in a circle
  ON CONFLICT (platform, workspace, channel, thread) DO UPDATE SET position = excluded.position, at = excluded.at
    WHERE excluded.position > w.position
$$;

CREATE FUNCTION parley_unmark_$V(p_platform text, p_workspace text, p_channel text, p_thread text) RETURNS void
LANGUAGE sql VOLATILE AS $$
  DELETE FROM watermark WHERE platform = p_platform AND workspace = p_workspace AND p_channel IN ('', channel)
    AND p_thread IN ('', thread)
$$;
