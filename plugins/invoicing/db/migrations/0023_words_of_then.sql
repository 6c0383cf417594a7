-- What is sent again goes with the words of then unless a person asks for today's: a new execution changes its addresses,
-- not its words.
ALTER TABLE invoicing.delivery
    ADD COLUMN keeps_words boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT delivery_keeps_words_of_another CHECK (NOT keeps_words OR resend_of IS NOT NULL);
