-- Settings: what operators chose, and the log of what was done in the name of governing.

CREATE FUNCTION parley_settings_$V(p_platform text)
RETURNS TABLE (platform text, workspace text, channel text, subject text, name text, value text)
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN QUERY SELECT s.platform, s.workspace, s.channel, s.subject, s.name, s.value FROM setting s
    WHERE s.platform = ANY (ARRAY[p_platform, '']) ORDER BY 1, 2, 3, 4, 5;
END $$;

-- How often settings were changed. It stands among the notes, under a name that no adapter gives and no workspace's notes
-- begin with, since it has to outlive the settings.
CREATE FUNCTION parley_settings_version_$V() RETURNS bigint LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN coalesce((SELECT n.text::bigint FROM note n WHERE n.name = E'\x1fsettings'), 0);
END $$;

CREATE FUNCTION parley_settings_changed_$V() RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  INSERT INTO note AS n (name, text) VALUES (E'\x1fsettings', '1')
    ON CONFLICT (name) DO UPDATE SET text = (n.text::bigint + 1)::text;
END $$;

-- Keep a setting, or remove it, and write that down; returns the value before.
CREATE FUNCTION parley_put_setting_$V(
  p_platform text, p_workspace text, p_channel text, p_subject text, p_name text, p_value text,
  p_author_id text, p_action text, p_at bigint
) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_before text;
BEGIN
  -- One after the other: of two who choose at once, the second is told what the first one chose.
  PERFORM pg_advisory_xact_lock(hashtextextended('parley settings', 0));
  v_before := coalesce((SELECT s.value FROM setting s WHERE s.platform = p_platform AND s.workspace = p_workspace
    AND s.channel = p_channel AND s.subject = p_subject AND s.name = p_name), '');
  IF v_before = p_value THEN
    RETURN v_before;
  END IF;
  IF p_value = '' THEN
    DELETE FROM setting s WHERE s.platform = p_platform AND s.workspace = p_workspace AND s.channel = p_channel
      AND s.subject = p_subject AND s.name = p_name;
  ELSE
    INSERT INTO setting (platform, workspace, channel, subject, name, value, at)
    VALUES (p_platform, p_workspace, p_channel, p_subject, p_name, p_value, p_at)
    ON CONFLICT (platform, workspace, channel, subject, name) DO UPDATE SET value = excluded.value, at = excluded.at;
  END IF;
  PERFORM parley_settings_changed_$V();
  PERFORM parley_audit_$V(p_platform, p_workspace, p_channel, p_author_id, p_action, trim(p_subject || ' ' || p_name),
    v_before, p_value, true, p_at);
  RETURN v_before;
END $$;

CREATE FUNCTION parley_audit_$V(
  p_platform text, p_workspace text, p_channel text, p_author_id text, p_action text, p_target text, p_before text,
  p_after text, p_allowed boolean, p_at bigint
) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  INSERT INTO audit (platform, workspace, channel, author_id, action, target, before, after, allowed, at)
  VALUES (p_platform, p_workspace, p_channel, p_author_id, p_action, p_target, p_before, p_after, p_allowed::int, p_at);
END $$;

-- List entries of a workspace, the newest first; `p_everything`: with those that concern no single one. That is two walks
-- down one index, each of them short; OR would read all of the log.
CREATE FUNCTION parley_audit_log_$V(p_platform text, p_workspace text, p_before bigint, p_limit int, p_everything boolean)
RETURNS TABLE (
  id bigint, platform text, workspace text, channel text, author_id text, action text, target text, before text, after text,
  allowed boolean, at bigint
) LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN QUERY
    SELECT a.id, a.platform, a.workspace, a.channel, a.author_id, a.action, a.target, a.before, a.after, a.allowed = 1, a.at
    FROM (
      (SELECT * FROM audit o WHERE o.platform = p_platform AND o.workspace = p_workspace AND o.id < p_before
        ORDER BY o.id DESC LIMIT p_limit)
      UNION ALL
      (SELECT * FROM audit o WHERE o.platform = '' AND o.workspace = '' AND o.id < p_before
        AND p_everything AND (p_platform, p_workspace) <> ('', '') ORDER BY o.id DESC LIMIT p_limit)
    ) a ORDER BY a.id DESC LIMIT p_limit;
END $$;

-- The log grows in the order of time, so the oldest entries stand first and nothing needs an index on time.
CREATE FUNCTION parley_forget_audit_$V(p_before bigint, p_limit int) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_gone bigint;
BEGIN
  DELETE FROM audit WHERE id = ANY (ARRAY(
    SELECT o.id FROM (SELECT a.id, a.at FROM audit a ORDER BY a.id LIMIT p_limit) o WHERE o.at < p_before));
  GET DIAGNOSTICS v_gone = ROW_COUNT;
  RETURN v_gone;
END $$;

-- Remove the settings of a workspace that is gone.
CREATE FUNCTION parley_clear_settings_$V(p_platform text, p_workspace text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('parley settings', 0));
  DELETE FROM setting s WHERE s.platform = p_platform AND s.workspace = p_workspace;
  IF FOUND THEN
    PERFORM parley_settings_changed_$V();
  END IF;
END $$;

-- Drop entries of a workspace that is gone, `p_most` at once; returns how many.
CREATE FUNCTION parley_clear_audit_$V(p_platform text, p_workspace text, p_most int) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_gone bigint;
BEGIN
  DELETE FROM audit WHERE id = ANY (ARRAY(
    SELECT a.id FROM audit a WHERE a.platform = p_platform AND a.workspace = p_workspace LIMIT p_most));
  GET DIAGNOSTICS v_gone = ROW_COUNT;
  RETURN v_gone;
END $$;
