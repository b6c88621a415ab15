-- From version 3 to version 4: a commit changes fewer pages. The other side of an alert has one index in place of two, and amounts are
-- found by their number of digits, in the order of blocks.
DROP INDEX activities_by_from;
DROP INDEX activities_by_to;
DROP INDEX activities_by_amount;
ALTER TABLE alerts ADD COLUMN counterparty_id INTEGER REFERENCES addresses (id);
UPDATE alerts SET counterparty_id = (SELECT CASE alerts.direction WHEN 0 THEN m.to_id ELSE m.from_id END FROM activities m
    WHERE m.id = activity_id) WHERE direction < 2;
-- Serves query --min-amount in base units: by the number of digits, of which there are few, so that a new row goes to the end of one
-- of few runs. By the amount itself it would go anywhere.
CREATE INDEX activities_by_digits ON activities (length(amount), block_number);
-- Serves query --counterparty.
CREATE INDEX alerts_by_counterparty ON alerts (counterparty_id, block_number) WHERE counterparty_id IS NOT NULL;
