-- name: bound_waiting
-- Whoever looks is told to come back, instead of waiting for a run or an import to commit.
SET LOCAL lock_timeout = '4s';

-- name: sample_less
-- Its statistics are undone with all the rest: a tenth of the usual sample plans as well, and costs a tenth.
SET LOCAL default_statistics_target = 10;
