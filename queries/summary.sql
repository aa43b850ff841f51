-- What came in since $since, by language and urgency.
SELECT
  lang,
  urgency,
  count(*) AS tickets,
  string_agg(subject, '; ' ORDER BY ticket_id) AS subjects
FROM tickets
WHERE created_at >= CAST($since AS TIMESTAMP)
  AND urgency IN ('low', 'normal', 'high')
GROUP BY lang, urgency
ORDER BY lang, urgency
