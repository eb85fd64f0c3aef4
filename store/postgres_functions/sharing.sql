-- Sharing: parts of something spread over replicas, and paces that they keep together.
--
-- Whoever changes who holds what of a name has the name's lock first, which goes with the transaction. The rule by which parts
-- are spread is told once more in Python, for one process (`store/sqlite_sharing.py`); both give the same answers.

-- Say that a replica is there for `p_lasting` from now, and tell its share.
CREATE FUNCTION parley_share_$V(
  p_name text, p_replica text, p_parts int, p_ready int[], p_leaving boolean, p_lasting bigint, p_holder text,
  OUT parts int, OUT held int[], OUT offered int[], OUT others int, OUT rank int
) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_now bigint;
  v_room int;
  v_mine int[];
  v_offers int[];
BEGIN
  PERFORM parley_lock_shared_$V(p_name);
  v_now := parley_now_$V();
  PERFORM parley_part_with_$V(p_name, ARRAY(SELECT r.replica FROM replica r WHERE r.name = p_name AND r.until <= v_now));
  IF NOT EXISTS (SELECT FROM replica r WHERE r.name = p_name) THEN
    DELETE FROM share s WHERE s.name = p_name;
    INSERT INTO share (name, number) SELECT p_name, generate_series(0, p_parts - 1);
  END IF;
  INSERT INTO replica AS r (name, replica, since, until, leaving, holder)
    VALUES (p_name, p_replica, v_now, v_now + p_lasting, p_leaving, p_holder)
    ON CONFLICT (name, replica) DO UPDATE SET until = excluded.until, leaving = excluded.leaving,
      since = CASE WHEN r.leaving AND NOT excluded.leaving THEN excluded.since ELSE r.since END;

  v_room := parley_room_$V(p_name, p_replica);
  UPDATE share s SET holder = p_replica, successor = NULL WHERE s.name = p_name AND s.number = ANY (ARRAY(
    SELECT f.number FROM share f WHERE f.name = p_name AND f.holder IS NULL
    ORDER BY f.successor IS NOT DISTINCT FROM p_replica DESC, f.number = ANY (p_ready) DESC, f.successor IS NULL DESC,
      f.number LIMIT v_room));

  -- Its offers are made anew each time, so none outlives its reason; those that stand come first.
  v_room := parley_room_$V(p_name, p_replica);
  v_mine := ARRAY(SELECT s.number FROM share s WHERE s.name = p_name AND s.successor = p_replica);
  v_offers := ARRAY(
    WITH to_give AS (
      SELECT s.number, q.quota, count(*) OVER (PARTITION BY s.holder) AS rest,
        row_number() OVER (PARTITION BY s.holder
          ORDER BY s.number = ANY (v_mine) DESC, s.number = ANY (p_ready) DESC, s.number DESC) AS place
      FROM share s JOIN parley_quotas_$V(p_name) q ON q.replica = s.holder
      WHERE s.name = p_name AND s.holder <> p_replica AND coalesce(s.successor, p_replica) = p_replica
    )
    -- Of those who give up all they have first: they want to go.
    SELECT g.number FROM to_give g WHERE g.place <= g.rest - g.quota
    ORDER BY g.number = ANY (v_mine) DESC, g.number = ANY (p_ready) DESC, g.quota > 0, g.number DESC LIMIT v_room);
  UPDATE share s SET successor = NULL
    WHERE s.name = p_name AND s.successor = p_replica AND s.number <> ALL (v_offers);
  UPDATE share s SET holder = p_replica, successor = NULL
    WHERE s.name = p_name AND s.number = ANY (v_offers) AND s.number = ANY (v_mine) AND s.number = ANY (p_ready);
  UPDATE share s SET successor = p_replica
    WHERE s.name = p_name AND s.number = ANY (v_offers) AND s.successor IS NULL AND s.holder <> p_replica;

  SELECT count(*), array_agg(s.number) FILTER (WHERE s.holder = p_replica),
    array_agg(s.number) FILTER (WHERE s.successor = p_replica) INTO parts, held, offered FROM share s WHERE s.name = p_name;
  SELECT q.place INTO rank FROM parley_quotas_$V(p_name) q WHERE q.replica = p_replica;
  SELECT count(*) INTO others FROM replica r WHERE r.name = p_name AND NOT r.leaving AND r.replica <> p_replica;
END $$;

-- Take a replica out of a name.
CREATE FUNCTION parley_leave_$V(p_name text, p_replica text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM parley_lock_shared_$V(p_name);
  PERFORM parley_part_with_$V(p_name, ARRAY[p_replica]);
END $$;

CREATE FUNCTION parley_lock_shared_$V(p_name text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('parley shared ' || p_name, 0));
END $$;

-- Take replicas out of a name, with what they hold and were offered.
CREATE FUNCTION parley_part_with_$V(p_name text, p_gone text[]) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  DELETE FROM replica r WHERE r.name = p_name AND r.replica = ANY (p_gone);
  IF FOUND THEN
    UPDATE share s SET holder = CASE WHEN s.holder = ANY (p_gone) THEN NULL ELSE s.holder END,
      successor = CASE WHEN s.successor = ANY (p_gone) THEN NULL ELSE s.successor END
      WHERE s.name = p_name AND (s.holder = ANY (p_gone) OR s.successor = ANY (p_gone));
  END IF;
END $$;

-- Tell each replica's place, the longest there first and those that are leaving last, and how many parts it should have.
CREATE FUNCTION parley_quotas_$V(p_name text) RETURNS TABLE (replica text, place int, quota int) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_parts int;
BEGIN
  SELECT count(*) INTO v_parts FROM share s WHERE s.name = p_name;
  RETURN QUERY SELECT o.replica, o.place,
      CASE WHEN o.leaving THEN 0 ELSE v_parts / o.taking + (o.place < v_parts % o.taking)::int END
    FROM (
      SELECT r.replica, r.leaving, (row_number() OVER (ORDER BY r.leaving, r.since, r.replica) - 1)::int AS place,
        (count(*) FILTER (WHERE NOT r.leaving) OVER ())::int AS taking
      FROM replica r WHERE r.name = p_name
    ) o;
END $$;

-- Tell how many parts a replica may be given.
CREATE FUNCTION parley_room_$V(p_name text, p_replica text) RETURNS int LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  RETURN (SELECT greatest(0, q.quota - (SELECT count(*) FROM share s WHERE s.name = p_name AND s.holder = p_replica))
    FROM parley_quotas_$V(p_name) q WHERE q.replica = p_replica);
END $$;

-- Take the next slot of a budget, and tell how many microseconds it is until then.
CREATE FUNCTION parley_slot_$V(p_budget text, p_pace bigint) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_free_at bigint;
BEGIN
  -- Whoever had to wait for the row reads the clock after that.
  UPDATE budget SET free_at = greatest(free_at, parley_now_$V()) + p_pace WHERE name = p_budget
    RETURNING free_at INTO v_free_at;
  IF NOT FOUND THEN
    INSERT INTO budget AS b (name, free_at) VALUES (p_budget, parley_now_$V() + p_pace)
      ON CONFLICT (name) DO UPDATE SET free_at = greatest(b.free_at, parley_now_$V()) + p_pace
      RETURNING b.free_at INTO v_free_at;
    PERFORM parley_forget_budgets_$V();
  END IF;
  RETURN greatest(0, v_free_at - p_pace - parley_now_$V());
END $$;

CREATE FUNCTION parley_hold_back_$V(p_budget text, p_lasting bigint) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_until bigint := parley_now_$V() + p_lasting;
BEGIN
  UPDATE budget SET free_at = greatest(free_at, v_until) WHERE name = p_budget;
  IF NOT FOUND THEN
    INSERT INTO budget AS b (name, free_at) VALUES (p_budget, v_until)
      ON CONFLICT (name) DO UPDATE SET free_at = greatest(b.free_at, v_until);
    PERFORM parley_forget_budgets_$V();
  END IF;
END $$;

-- Drop budgets that nobody used for long. It is done for each new one, so they don't grow beyond those of an hour; an index on
-- `free_at` would make every slot dearer.
CREATE FUNCTION parley_forget_budgets_$V() RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  DELETE FROM budget WHERE name = ANY (ARRAY(
    SELECT name FROM budget WHERE free_at < parley_now_$V() - $BUDGET_KEPT LIMIT 100 FOR UPDATE SKIP LOCKED));
END $$;
