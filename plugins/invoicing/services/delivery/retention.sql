-- name: due
SELECT (SELECT count(*) FROM invoicing.trial_message WHERE asked_at < %(before)s AND to_address <> '') AS trial_messages,
       (SELECT count(*) FROM invoicing.operator_notice
        WHERE created_at < %(before)s AND sent_at IS NOT NULL AND texts <> '{}') AS notices;

-- name: states
-- Of deliveries whose messages lie in the inbox; given up is settled.
SELECT id, state IN ('sent', 'cancelled') OR given_up AS is_settled
FROM invoicing.delivery WHERE id = ANY(%(ids)s);

-- name: purge_trial_messages
-- That one was sent, by whom, of which text (its SHA-256), and what became of it, stays.
UPDATE invoicing.trial_message SET to_address = '', reply = NULL WHERE asked_at < %(before)s AND to_address <> '';

-- name: purge_notices
-- That the operator was told of a cause on a day stays; one that is unsent is not touched.
UPDATE invoicing.operator_notice SET texts = '{}', problem = NULL
WHERE created_at < %(before)s AND sent_at IS NOT NULL AND texts <> '{}';
