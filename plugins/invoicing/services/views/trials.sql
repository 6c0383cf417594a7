-- name: trials_of_template
SELECT m.asked_at, m.actor, m.to_address, v.version, coalesce(m.outcome, 'unknown') AS outcome, m.code, m.reply
FROM invoicing.trial_message AS m JOIN invoicing.template_version AS v ON v.id = m.template_version_id
WHERE v.name = %(name)s
ORDER BY m.id DESC LIMIT %(limit)s;

-- name: trial_counts
SELECT count(*) FILTER (WHERE v.name = %(name)s) AS of_template,
    count(*) FILTER (WHERE m.user_id = %(user_id)s AND m.asked_at > now() - interval '1 hour') AS within_the_hour
FROM invoicing.trial_message AS m JOIN invoicing.template_version AS v ON v.id = m.template_version_id
WHERE v.name = %(name)s OR m.user_id = %(user_id)s AND m.asked_at > now() - interval '1 hour';
