-- Taking a turn that waits, or whose holder is gone.

-- Let a turn take the first ones of what waits; returns the position of the last one.
CREATE FUNCTION parley_take_waiting_$V(p_turn bigint, p_conversation bigint, p_most bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_since bigint;
  v_until bigint;
BEGIN
  WITH taken AS (
    UPDATE message SET turn_id = p_turn WHERE id IN (SELECT id FROM message
      WHERE conversation_id = p_conversation AND turn_id IS NULL ORDER BY position LIMIT p_most)
    RETURNING position)
  SELECT min(position), max(position) INTO v_since, v_until FROM taken;
  UPDATE turn SET since = v_since, until = v_until WHERE id = p_turn;
  RETURN v_until;
END $$;

-- Let a turn give all its messages back and take the first ones of what waits: which it keeps is a matter of order, not of
-- arrival.
CREATE FUNCTION parley_take_again_$V(p_turn bigint, p_conversation bigint, p_most bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  UPDATE message m SET turn_id = NULL FROM turn t WHERE t.id = p_turn AND m.conversation_id = p_conversation
    AND m.turn_id = p_turn AND m.role = 0 AND m.position BETWEEN t.since AND t.until;
  RETURN parley_take_waiting_$V(p_turn, p_conversation, p_most);
END $$;

-- Put the answer of an earlier try behind the message that is the last one by now.
CREATE FUNCTION parley_move_answer_$V(p_conversation bigint, p_turn bigint, p_answered bigint, p_until bigint) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  IF p_answered <> p_until THEN
    UPDATE message SET position = p_until
      WHERE conversation_id = p_conversation AND position = p_answered AND role = 1 AND turn_id = p_turn;
    UPDATE turn SET answered = p_until WHERE id = p_turn;
  END IF;
END $$;

-- The workspaces that are full, each as its platform and its own name: those in which so many turns are held as may be.
CREATE FUNCTION parley_full_$V(p_per_workspace int) RETURNS text[] LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_now bigint := parley_now_$V();
BEGIN
  RETURN ARRAY(SELECT h.platform || ' ' || h.workspace FROM (
      SELECT c.platform, c.workspace FROM turn t JOIN conversation c ON c.id = t.conversation_id
        WHERE t.state IN ('running', 'delivering') AND c.lease_until > v_now UNION ALL
      SELECT c.platform, c.workspace FROM turn t JOIN conversation c ON c.id = t.conversation_id
        WHERE t.state = 'cancelled' AND t.settled_at IS NULL AND c.lease_until > v_now) h
    GROUP BY h.platform, h.workspace HAVING count(*) >= parley_most_$V(h.platform, h.workspace, p_per_workspace));
END $$;

-- The workspace with the oldest of all queued turns that can be had, and its paused channels; NULL when there is none. However
-- many turns are paused or wait for a full workspace, each workspace costs one look into an index, from one to the next.
CREATE FUNCTION parley_next_workspace_$V(
  p_platforms text[], p_full text[], OUT platform text, OUT workspace text, OUT paused text[]
) LANGUAGE plpgsql VOLATILE
SET enable_sort = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
  v_now bigint := parley_now_$V();
  p record;
  v_paused text[];
  v_one bigint;
  v_oldest bigint := $LAST;
BEGIN
  FOR p IN
    WITH RECURSIVE place (id, platform, workspace) AS (
      (SELECT t.id, t.queued_platform, t.queued_workspace FROM turn t WHERE t.state = 'queued' AND t.queued_platform IS NOT NULL
        ORDER BY t.queued_platform, t.queued_workspace, t.id LIMIT 1)
      UNION ALL
      SELECT n.id, n.queued_platform, n.queued_workspace FROM place l CROSS JOIN LATERAL (
        SELECT t.id, t.queued_platform, t.queued_workspace FROM turn t
          WHERE t.state = 'queued' AND (t.queued_platform, t.queued_workspace) > (l.platform, l.workspace)
          ORDER BY t.queued_platform, t.queued_workspace, t.id LIMIT 1) n)
    SELECT l.id, l.platform, l.workspace FROM place l
      WHERE l.platform = ANY (p_platforms) AND l.platform || ' ' || l.workspace <> ALL (p_full) ORDER BY l.id
  LOOP
    EXIT WHEN p.id > v_oldest;
    CONTINUE WHEN parley_is_paused_$V(p.platform, p.workspace, '');
    v_paused := ARRAY(SELECT channel FROM setting s WHERE s.platform = p.platform AND s.workspace = p.workspace
      AND s.subject = '' AND s.name = '$PAUSED' AND s.value = '$ON');
    SELECT o.id INTO v_one FROM turn o JOIN conversation k ON k.id = o.conversation_id
      WHERE o.state = 'queued' AND o.queued_platform = p.platform AND o.queued_workspace = p.workspace
        AND o.queued_channel <> ALL (v_paused) AND k.lease_until <= v_now
      ORDER BY o.id LIMIT 1;
    IF v_one < v_oldest THEN
      v_oldest := v_one;
      platform := p.platform;
      workspace := p.workspace;
      paused := v_paused;
    END IF;
  END LOOP;
END $$;

-- Take the oldest open turn that can be had, and begin none in the workspaces of `p_but`, each as its platform and its own
-- name. With the state 'again', somebody took the last place of its workspace in this very moment: then look anew, with no lock
-- held that another one may wait for.
CREATE FUNCTION parley_claim_$V(
  p_lease bigint, p_window int, p_platforms text[], p_per_workspace int, p_but text[], p_holder text
) RETURNS parley_held_$V LANGUAGE plpgsql VOLATILE
SET enable_sort = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
  v parley_held_$V;
  w parley_window_$V;
  t turn%ROWTYPE;
  c conversation%ROWTYPE;
  v_now bigint;
  v_candidate record;
  v_place record;
  v_rest bigint;
  v_until bigint;
  v_most int;
  v_full text[];
BEGIN
  LOOP
    v_now := parley_now_$V();
    -- Whoever is locked is just being claimed, told something or settled by somebody else, who looks after it. Of what is
    -- queued, only the first ones are looked at here: mostly one of them can be had.
    SELECT o.id AS turn_id, k.id AS conversation_id INTO v_candidate FROM (
        SELECT id, conversation_id, false AS queued FROM turn WHERE state IN ('running', 'delivering') UNION ALL
        SELECT id, conversation_id, false FROM turn WHERE state = 'cancelled' AND settled_at IS NULL UNION ALL
        (SELECT id, conversation_id, true FROM turn WHERE settled_at IS NULL AND state = 'queued'
          ORDER BY id LIMIT $FIRST_ONES) UNION ALL
        -- An older program beside this one does not say where a turn is queued.
        SELECT id, conversation_id, true FROM turn WHERE state = 'queued' AND queued_platform IS NULL
        ORDER BY 1) o JOIN conversation k ON k.id = o.conversation_id
      WHERE k.lease_until <= v_now AND k.platform = ANY (p_platforms)
        AND (NOT o.queued OR k.platform || ' ' || k.workspace <> ALL (coalesce(v_full, '{}') || p_but))
        AND NOT parley_is_paused_$V(k.platform, k.workspace, k.channel)
      ORDER BY o.id LIMIT 1 FOR NO KEY UPDATE OF k SKIP LOCKED;
    IF NOT FOUND THEN
      v_full := coalesce(v_full, parley_full_$V(p_per_workspace));
      v_place := parley_next_workspace_$V(p_platforms, v_full || p_but);
      IF v_place.platform IS NULL THEN
        RETURN v;
      END IF;
      SELECT o.id AS turn_id, k.id AS conversation_id INTO v_candidate
        FROM turn o JOIN conversation k ON k.id = o.conversation_id
        WHERE o.state = 'queued' AND o.queued_platform = v_place.platform AND o.queued_workspace = v_place.workspace
          AND o.queued_channel <> ALL (v_place.paused) AND k.lease_until <= v_now
        ORDER BY o.id LIMIT 1 FOR NO KEY UPDATE OF k SKIP LOCKED;
      IF NOT FOUND THEN  -- all that there is was locked since: nothing is left there for us
        v_full := v_full || (v_place.platform || ' ' || v_place.workspace);
        CONTINUE;
      END IF;
    END IF;
    -- With the row locked, what is there now: the turn may have been settled since the look.
    SELECT * INTO c FROM conversation WHERE id = v_candidate.conversation_id;
    SELECT * INTO t FROM turn WHERE id = v_candidate.turn_id AND settled_at IS NULL;
    CONTINUE WHEN NOT FOUND;
    EXIT WHEN t.state <> 'queued';
    -- Whoever carried out the turn before it may have handed that back since the look: it goes first.
    SELECT * INTO t FROM turn WHERE conversation_id = c.id AND state IN ('running', 'delivering');
    EXIT WHEN FOUND;
    SELECT * INTO t FROM turn WHERE conversation_id = c.id AND state = 'cancelled' AND settled_at IS NULL
      AND id < v_candidate.turn_id ORDER BY id LIMIT 1;
    EXIT WHEN FOUND;
    SELECT * INTO t FROM turn WHERE id = v_candidate.turn_id;
    v_most := parley_most_$V(c.platform, c.workspace, p_per_workspace);
    EXIT WHEN v_most IS NULL;
    IF parley_held_in_$V(c.platform, ARRAY[c.workspace]) >= v_most THEN
      v_full := coalesce(v_full, parley_full_$V(p_per_workspace)) || (c.platform || ' ' || c.workspace);
      CONTINUE;
    END IF;
    EXIT WHEN parley_has_room_$V(c.platform, c.workspace, v_most);
    v.state := 'again';
    RETURN v;
  END LOOP;
  v.epoch := c.epoch + 1;
  UPDATE conversation SET epoch = v.epoch, lease_until = v_now + p_lease, holder = p_holder WHERE id = c.id;
  v.recovered := t.state <> 'queued';
  v.state := CASE t.state WHEN 'queued' THEN 'running' ELSE t.state END;
  -- Whoever begins anew after a crash reads what was revised, which killed nobody yet; whoever only shows an answer is still
  -- asked for another one.
  UPDATE turn SET state = v.state, messages = least(messages, $TURN_MESSAGES), started_at = coalesce(started_at, v_now),
      attempts = CASE WHEN stop = $REDO AND v.state = 'running' THEN 1 ELSE attempts + 1 END,
      stop = CASE WHEN v.state = 'cancelled' THEN $TOLD WHEN stop = $REDO AND v.state = 'running' THEN 0 ELSE stop END
    WHERE id = t.id RETURNING attempts INTO v.attempts;
  IF v.state = 'cancelled' THEN  -- retracted: what is left of it is to be taken back, which is a delivery
    v.state := 'delivering';
  END IF;
  v_until := t.until;
  IF t.messages > $TURN_MESSAGES THEN
    v_until := parley_take_again_$V(t.id, c.id, $TURN_MESSAGES);
    INSERT INTO turn (conversation_id, state, address, queued_at, since, until, messages,
      queued_platform, queued_workspace, queued_channel)
    VALUES (c.id, 'queued', t.address, v_now, 0, 0, t.messages - $TURN_MESSAGES, c.platform, c.workspace, c.channel)
    RETURNING id INTO v_rest;
    PERFORM parley_take_waiting_$V(v_rest, c.id, $TURN_MESSAGES);
  END IF;
  IF t.answered <> v_until THEN
    PERFORM parley_move_answer_$V(c.id, t.id, t.answered, v_until);
  END IF;
  v.conversation_id := c.id;
  v.turn_id := t.id;
  v.address := t.address;
  v.queued_at := t.queued_at;
  v.error := t.error;
  v.platform := c.platform;
  v.workspace := c.workspace;
  v.channel := c.channel;
  v.thread := c.thread;
  v.user_id := c.user_id;
  v.persona := c.persona;
  v.persona_sealed := c.sealed;
  v.stop := t.stop;
  w := parley_read_window_$V(c.id, v_until, 1, p_window);
  v.messages := w.messages;
  v.files := w.files;
  v.data := w.data;
  IF v.state = 'delivering' AND t.error = '' THEN  -- with an error, what stands there is the answer of an earlier try
    SELECT json_build_array(m.text, m.ending, t.model, t.prompt_tokens, t.completion_tokens) INTO v.answer
      FROM message m WHERE m.conversation_id = c.id AND m.position = v_until AND m.role = 1;
  END IF;
  SELECT json_agg(json_build_array(number, platform_id) ORDER BY number) INTO v.parts FROM part WHERE turn_id = t.id;
  RETURN v;
END $$;
