-- What processes that are dead have left behind in their hands.

-- Name the processes of a machine that hold something, whether they are dead or not.
CREATE FUNCTION parley_holders_$V(p_machine text) RETURNS SETOF text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_now bigint := parley_now_$V();
BEGIN
  RETURN QUERY SELECT c.holder FROM parley_held_now_$V() h JOIN conversation c ON c.id = h.id
      WHERE c.lease_until > v_now AND starts_with(c.holder, p_machine || '-') UNION
    SELECT r.holder FROM replica r WHERE r.until > v_now AND starts_with(r.holder, p_machine || '-');
END $$;

-- Let go of all that these processes hold.
CREATE FUNCTION parley_free_$V(p_dead text[]) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v record;
BEGIN
  -- An older program beside this one does not say that it holds a conversation. Where one of the dead did so before, the turn
  -- is taken from it: it is fenced, and whoever takes the turn goes on with it.
  UPDATE conversation c SET lease_until = 0 FROM parley_held_now_$V() h
    WHERE c.id = h.id AND c.lease_until > parley_now_$V() AND c.holder = ANY (p_dead);
  FOR v IN SELECT r.name, array_agg(r.replica) AS gone FROM replica r WHERE r.holder = ANY (p_dead) GROUP BY r.name LOOP
    PERFORM parley_lock_shared_$V(v.name);
    PERFORM parley_part_with_$V(v.name, v.gone);
  END LOOP;
END $$;

-- The conversations whose turn somebody has taken and not settled.
CREATE FUNCTION parley_held_now_$V() RETURNS TABLE (id bigint) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  RETURN QUERY SELECT t.conversation_id FROM turn t WHERE t.state IN ('running', 'delivering') UNION
    SELECT t.conversation_id FROM turn t WHERE t.state = 'cancelled' AND t.settled_at IS NULL;
END $$;
