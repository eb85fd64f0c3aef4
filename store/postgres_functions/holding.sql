-- A turn in the hands of its holder, and what others ask of it. Each of the holder's calls passes the fence of lease and epoch.

CREATE FUNCTION parley_renew_$V(
  p_turn bigint, p_conversation bigint, p_epoch bigint, p_lease bigint, OUT stop int, OUT waiting boolean
) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  UPDATE conversation SET lease_until = parley_now_$V() + p_lease
    WHERE id = p_conversation AND epoch = p_epoch AND lease_until > parley_now_$V();
  IF NOT FOUND THEN
    PERFORM parley_lost_$V(p_turn, p_epoch);
  END IF;
  stop := (SELECT t.stop FROM turn t WHERE t.id = p_turn);
  waiting := EXISTS (SELECT 1 FROM turn t WHERE t.conversation_id = p_conversation AND t.state = 'queued');
END $$;

-- Give the held turn what waits behind it; NULL when nothing does.
CREATE FUNCTION parley_absorb_$V(
  p_turn bigint, p_conversation bigint, p_epoch bigint, p_window int,
  OUT address text, OUT messages json, OUT files json, OUT data bytea[]
) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  r turn%ROWTYPE;
  q turn%ROWTYPE;
  w parley_window_$V;
  v_last bigint;
BEGIN
  PERFORM parley_hold_$V(p_turn, p_conversation, p_epoch);
  SELECT * INTO q FROM turn t WHERE t.conversation_id = p_conversation AND t.state = 'queued';
  IF NOT FOUND THEN
    RETURN;
  END IF;
  SELECT * INTO r FROM turn t WHERE t.id = p_turn;
  IF r.messages + q.messages > $TURN_MESSAGES OR r.stop >= $RETRACT THEN
    RETURN;
  END IF;
  UPDATE message SET turn_id = p_turn
    WHERE conversation_id = p_conversation AND turn_id = q.id AND position BETWEEN q.since AND q.until;
  DELETE FROM turn t WHERE t.id = q.id;
  v_last := greatest(r.until, q.until);
  UPDATE turn t SET until = v_last, since = least(r.since, q.since), messages = r.messages + q.messages, address = q.address
    WHERE t.id = p_turn;
  PERFORM parley_move_answer_$V(p_conversation, p_turn, r.answered, v_last);
  w := parley_read_window_$V(p_conversation, v_last, 1, p_window);
  address := q.address;
  messages := w.messages;
  files := w.files;
  data := w.data;
END $$;

CREATE FUNCTION parley_record_part_$V(
  p_turn bigint, p_conversation bigint, p_epoch bigint, p_number int, p_platform_id text
) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM parley_hold_$V(p_turn, p_conversation, p_epoch);
  INSERT INTO part (turn_id, number, platform_id) VALUES (p_turn, p_number, p_platform_id)
    ON CONFLICT (turn_id, number) DO UPDATE SET platform_id = excluded.platform_id;
  IF p_number = 0 THEN
    UPDATE turn SET shown_at = parley_now_$V() WHERE id = p_turn AND shown_at IS NULL;
  END IF;
END $$;

-- Store an outcome: an answer, or an error with a text of NULL. False, and the holder is told by that, when the turn was
-- retracted. `p_payer` is charged for it, NULL for nobody. `replaced`: it stands where the answer of an earlier try stood.
CREATE FUNCTION parley_finish_$V(
  p_turn bigint, p_conversation bigint, p_epoch bigint,
  p_text text, p_sealed int, p_ending text, p_model text, p_prompt_tokens int, p_completion_tokens int, p_error text,
  p_payer text, p_charged_prompt_tokens bigint, p_charged_completion_tokens bigint, p_money bigint,
  OUT finished boolean, OUT replaced boolean
) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_until bigint;
  v_charged boolean;
BEGIN
  PERFORM parley_hold_$V(p_turn, p_conversation, p_epoch);
  IF p_text IS NULL THEN
    UPDATE turn SET state = 'delivering', error = p_error WHERE id = p_turn AND stop < $RETRACT;
  ELSE
    -- What the turn was charged for stands there already, and says more than the answer alone.
    v_charged := p_payer IS NOT NULL OR parley_is_charged_$V(p_turn, p_epoch);
    UPDATE turn SET state = 'delivering', error = '', answered = until, model = p_model,
      prompt_tokens = CASE WHEN v_charged THEN prompt_tokens ELSE p_prompt_tokens END,
      completion_tokens = CASE WHEN v_charged THEN completion_tokens ELSE p_completion_tokens END
      WHERE id = p_turn AND stop < $RETRACT RETURNING until INTO v_until;
  END IF;
  finished := FOUND;
  IF NOT finished THEN
    UPDATE turn SET stop = $TOLD WHERE id = p_turn;
  ELSIF p_text IS NOT NULL THEN
    INSERT INTO message (conversation_id, position, role, turn_id, platform_id, author_id, author_name, text, ending, at,
      sealed)
    VALUES (p_conversation, v_until, 1, p_turn, '', '', '', p_text, p_ending, parley_now_$V(), p_sealed)
    ON CONFLICT (conversation_id, position, role) DO UPDATE SET turn_id = excluded.turn_id, text = excluded.text,
      ending = excluded.ending, at = excluded.at, sealed = excluded.sealed
    RETURNING xmax <> 0 INTO replaced;  -- a row that is new was never locked or changed
  END IF;
  IF p_payer IS NOT NULL THEN
    PERFORM parley_charge_$V(p_turn, p_conversation, p_epoch, p_payer, p_charged_prompt_tokens, p_charged_completion_tokens,
      p_money, false);
  END IF;
END $$;

CREATE FUNCTION parley_settle_$V(p_turn bigint, p_conversation bigint, p_epoch bigint, p_state text) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_now bigint := parley_now_$V();
BEGIN
  PERFORM parley_let_go_$V(p_turn, p_conversation, p_epoch);
  PERFORM parley_close_bill_$V(p_turn);
  UPDATE turn SET state = p_state, settled_at = v_now WHERE id = p_turn AND stop < $REDO;
  IF FOUND THEN
    RETURN;
  END IF;
  UPDATE turn SET state = 'queued', attempts = 0, stop = 0, error = '', settled_at = NULL, queued_at = v_now,
      (queued_platform, queued_workspace, queued_channel) =
        (SELECT k.platform, k.workspace, k.channel FROM conversation k WHERE k.id = p_conversation)
    WHERE id = p_turn AND stop = $REDO
    AND EXISTS (SELECT 1 FROM conversation WHERE id = p_conversation AND ended_at IS NULL)
    AND NOT EXISTS (SELECT 1 FROM turn WHERE conversation_id = p_conversation AND state = 'queued');
  IF NOT FOUND THEN
    UPDATE turn SET state = p_state, settled_at = v_now WHERE id = p_turn AND stop = $REDO;
    UPDATE turn SET settled_at = v_now WHERE id = p_turn AND stop = $TOLD;
  END IF;
END $$;

CREATE FUNCTION parley_release_$V(
  p_turn bigint, p_conversation bigint, p_epoch bigint,
  p_payer text, p_charged_prompt_tokens bigint, p_charged_completion_tokens bigint, p_money bigint
) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM parley_let_go_$V(p_turn, p_conversation, p_epoch);
  UPDATE turn SET attempts = attempts - 1 WHERE id = p_turn;
  IF p_payer IS NOT NULL THEN
    PERFORM parley_charge_$V(p_turn, p_conversation, p_epoch, p_payer, p_charged_prompt_tokens, p_charged_completion_tokens,
      p_money, true);
  END IF;
END $$;

-- End the queued turn of a conversation that is locked, with all that waited for it, and return its number.
CREATE FUNCTION parley_settle_queued_$V(p_conversation bigint, p_state text) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  q turn%ROWTYPE;
BEGIN
  SELECT * INTO q FROM turn WHERE conversation_id = p_conversation AND state = 'queued';
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  UPDATE turn SET state = p_state, settled_at = parley_now_$V() WHERE id = q.id AND stop < $REDO;
  IF q.messages > $TURN_MESSAGES THEN
    PERFORM parley_take_again_$V(q.id, p_conversation, $LAST);
  END IF;
  RETURN q.id;
END $$;

CREATE FUNCTION parley_stop_$V(p_conversation bigint, OUT running bigint, OUT queued bigint) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM parley_lock_$V(p_conversation);
  UPDATE turn SET stop = $STOP WHERE conversation_id = p_conversation AND state IN ('running', 'delivering')
    RETURNING id INTO running;
  queued := parley_settle_queued_$V(p_conversation, 'cancelled');
END $$;

-- The last turn that was settled, or the open one, which may have a lower number when it is an old one tried again. One that
-- has lost all its messages asks nothing. All NULL when there is none.
CREATE FUNCTION parley_last_turn_$V(p_conversation bigint) RETURNS turn LANGUAGE sql STABLE AS $$
  SELECT * FROM turn WHERE conversation_id = p_conversation AND (settled_at IS NULL OR messages > 0)
  ORDER BY settled_at IS NULL DESC, id DESC LIMIT 1
$$;

CREATE FUNCTION parley_retry_$V(p_conversation bigint) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  t turn%ROWTYPE;
BEGIN
  PERFORM 1 FROM conversation WHERE id = p_conversation AND expired_at IS NULL FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  t := parley_last_turn_$V(p_conversation);
  IF t.id IS NULL OR t.settled_at IS NULL THEN
    RETURN false;
  END IF;
  UPDATE turn SET state = 'queued', attempts = 0, stop = 0, error = '', settled_at = NULL, queued_at = parley_now_$V(),
      (queued_platform, queued_workspace, queued_channel) =
        (SELECT k.platform, k.workspace, k.channel FROM conversation k WHERE k.id = p_conversation)
    WHERE id = t.id;
  RETURN true;
END $$;

CREATE FUNCTION parley_busy_$V(p_conversation bigint) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN EXISTS (SELECT 1 FROM turn WHERE conversation_id = p_conversation AND settled_at IS NULL);
END $$;
