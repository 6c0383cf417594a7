-- What the operator is to be told is kept until it is: the relay that a run failed for is the one that its notice needs.

CREATE TABLE invoicing.operator_notice (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cause text NOT NULL,
    texts jsonb NOT NULL,
    alarm_on date,
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    problem text,
    CONSTRAINT operator_notice_once_a_day UNIQUE (cause, alarm_on)
);
COMMENT ON TABLE invoicing.operator_notice IS
    'What the operator is to be told, and whether they were. An alarm has a day, on which its cause is told once.';
CREATE INDEX operator_notice_unsent ON invoicing.operator_notice (id) WHERE sent_at IS NULL;
