-- Short notes of adapters, and names that are told once: what was delivered already.

CREATE FUNCTION parley_recall_$V(p_name text) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT text FROM note WHERE name = p_name
$$;

CREATE FUNCTION parley_remember_$V(p_name text, p_note text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  IF p_note = '' THEN
    DELETE FROM note WHERE name = p_name;
  ELSE
    INSERT INTO note (name, text) VALUES (p_name, p_note) ON CONFLICT (name) DO UPDATE SET text = excluded.text;
  END IF;
END $$;

CREATE FUNCTION parley_once_$V(p_name text, p_at bigint) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  INSERT INTO seen (name, at) VALUES (p_name, p_at) ON CONFLICT DO NOTHING;
  RETURN FOUND;
END $$;

-- Names come in the order of time, so the oldest stand first and nothing needs an index on time.
CREATE FUNCTION parley_forget_events_$V(p_before bigint, p_limit int) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_gone bigint;
BEGIN
  DELETE FROM seen WHERE id IN
    (SELECT id FROM (SELECT id, at FROM seen ORDER BY id LIMIT p_limit) oldest WHERE at < p_before);
  GET DIAGNOSTICS v_gone = ROW_COUNT;
  RETURN v_gone;
END $$;
