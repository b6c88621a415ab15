-- From version 5 to version 6: what is no noise and touches more than own wallets is found by an index as well. Where almost all that is
-- stored is one's own or noise, a query by default would otherwise read all of it.
DROP INDEX alerts_by_triage;
CREATE INDEX alerts_by_triage ON alerts (triage, block_number);
