-- People: the conversations that they take part in, and what they think of answers.

CREATE FUNCTION parley_put_feedback_$V(p_turn bigint, p_user text, p_value text, p_at bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  INSERT INTO feedback (turn_id, user_id, value, at) SELECT id, p_user, p_value, p_at FROM turn WHERE id = p_turn FOR KEY SHARE
    ON CONFLICT (turn_id, user_id) DO UPDATE SET value = excluded.value, at = excluded.at;
  RETURN FOUND;
END $$;

-- A person's conversations, by their key or by what they said.
CREATE FUNCTION parley_of_person_$V(p_platform text, p_workspace text, p_person text) RETURNS SETOF conversation
LANGUAGE sql STABLE AS $$
  SELECT * FROM conversation WHERE platform = p_platform AND workspace = p_workspace AND id IN
    (SELECT id FROM conversation WHERE user_id = p_person AND user_id <> ''
     UNION SELECT conversation_id FROM participant WHERE author_id = p_person)
$$;

-- How many messages a conversation has; further than a list tells, nobody counts.
CREATE FUNCTION parley_count_messages_$V(p_conversation bigint) RETURNS bigint LANGUAGE sql STABLE AS $$
  SELECT count(*) FROM (SELECT 1 FROM message WHERE conversation_id = p_conversation LIMIT $MESSAGES_COUNTED) counted
$$;

CREATE FUNCTION parley_conversations_of_$V(p_platform text, p_workspace text, p_person text, p_limit int)
RETURNS TABLE (conversation json, messages bigint) LANGUAGE sql STABLE AS $$
  SELECT parley_conversation_list_$V(id), parley_count_messages_$V(id)
  FROM (SELECT * FROM parley_of_person_$V(p_platform, p_workspace, p_person) WHERE expired_at IS NULL
    ORDER BY active_at DESC, id DESC LIMIT p_limit) theirs
  ORDER BY active_at DESC, id DESC
$$;
