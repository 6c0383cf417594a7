-- name: spellings
-- Each spelling of a city, with the file that it came in and the rows that have it.
SELECT city AS spelling, file, count(*) AS rows
FROM (SELECT city, 'tenants.csv' AS file FROM invoicing.tenant
      UNION ALL SELECT city, 'leases.csv' FROM invoicing.lease
      UNION ALL SELECT city, 'tax_rates.csv' FROM invoicing.tax_rate) AS used
WHERE city <> '' GROUP BY city, file;
