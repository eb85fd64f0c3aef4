-- Workspaces: the right to work in one, and erasing all of one that is gone.

CREATE FUNCTION parley_put_installation_$V(p_platform text, p_workspace text, p_user text, p_data bytea, p_at bigint)
RETURNS void LANGUAGE sql VOLATILE AS $$
  INSERT INTO installation (platform, workspace, user_id, data, at) VALUES (p_platform, p_workspace, p_user, p_data, p_at)
  ON CONFLICT (platform, workspace, user_id) DO UPDATE SET data = excluded.data, at = excluded.at
$$;

CREATE FUNCTION parley_installations_$V(p_platform text, p_workspace text)
RETURNS TABLE (workspace text, user_id text, data bytea, at bigint) LANGUAGE sql STABLE AS $$
  SELECT workspace, user_id, data, at FROM installation WHERE platform = p_platform AND p_workspace IN ('', workspace)
  ORDER BY at DESC, workspace, user_id
$$;

CREATE FUNCTION parley_remove_installation_$V(p_platform text, p_workspace text, p_user text) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  DELETE FROM installation WHERE platform = p_platform AND workspace = p_workspace AND user_id = p_user;
  RETURN FOUND;
END $$;

-- Erase what there is of a workspace beside its conversations and its accounts.
CREATE FUNCTION parley_clear_workspace_$V(p_platform text, p_workspace text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  DELETE FROM installation WHERE platform = p_platform AND workspace = p_workspace;
  DELETE FROM watermark WHERE platform = p_platform AND workspace = p_workspace;
  PERFORM parley_clear_settings_$V(p_platform, p_workspace);
  DELETE FROM note WHERE starts_with(name, p_platform || '/' || p_workspace || '/');
END $$;

-- Mark the next conversations of a workspace for purging, before all others, and end what is open of them; return how many.
CREATE FUNCTION parley_give_up_workspace_$V(
  p_platform text, p_workspace text, p_after bigint, p_limit int, p_expired bigint, OUT given_up bigint, OUT last bigint
) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_ids bigint[];
  v_one bigint;
BEGIN
  v_ids := ARRAY(SELECT id FROM conversation WHERE platform = p_platform AND workspace = p_workspace AND id > p_after
    ORDER BY id LIMIT p_limit FOR NO KEY UPDATE);
  given_up := cardinality(v_ids);
  last := v_ids[given_up];
  FOREACH v_one IN ARRAY v_ids LOOP
    PERFORM parley_give_up_$V(v_one, p_expired);
  END LOOP;
END $$;
