-- The server's clock, and the lock on a conversation's row.
--
-- The row is the lock: whoever changes anything of a conversation has it locked first, so what is read after that is what is
-- there. Each statement of a function sees what was committed before it began (READ COMMITTED). Times are microseconds since
-- 1970 by the server's clock.

CREATE FUNCTION parley_now_$V() RETURNS bigint LANGUAGE sql VOLATILE AS $$
  SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
$$;

-- Lock a conversation; false when there is none.
CREATE FUNCTION parley_lock_$V(p_conversation bigint) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM 1 FROM conversation WHERE id = p_conversation FOR NO KEY UPDATE;
  RETURN FOUND;
END $$;

CREATE FUNCTION parley_lost_$V(p_turn bigint, p_epoch bigint) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  RAISE EXCEPTION USING ERRCODE = 'PA003',
    MESSAGE = format('turn %s belongs to somebody else by now (epoch %s is over)', p_turn, p_epoch);
END $$;

CREATE FUNCTION parley_not_found_$V(p_conversation bigint) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  RAISE EXCEPTION USING ERRCODE = 'PA004', MESSAGE = format('there is no conversation %s', p_conversation);
END $$;

-- Lock the conversation of a hold, and raise PA003 when the hold is over.
CREATE FUNCTION parley_hold_$V(p_turn bigint, p_conversation bigint, p_epoch bigint) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM 1 FROM conversation WHERE id = p_conversation AND epoch = p_epoch AND lease_until > parley_now_$V()
    FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    PERFORM parley_lost_$V(p_turn, p_epoch);
  END IF;
END $$;

-- Let go of a conversation, which locks it; raises PA003 when the hold is over.
CREATE FUNCTION parley_let_go_$V(p_turn bigint, p_conversation bigint, p_epoch bigint) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  UPDATE conversation SET lease_until = 0
    WHERE id = p_conversation AND epoch = p_epoch AND lease_until > parley_now_$V();
  IF NOT FOUND THEN
    PERFORM parley_lost_$V(p_turn, p_epoch);
  END IF;
END $$;
