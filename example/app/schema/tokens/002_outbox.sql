-- +goose Up
-- What a client's Idempotency-Key has made, for a day.
create table if not exists creations (
	key        text      primary key,
	name       text      not null,
	token_id   text      not null,
	created_at timestamp not null
);

create index if not exists creations_created_at on creations (created_at);

-- What has happened and is not told yet. It is written in the transaction in
-- which it happened; the relay tells the audit trail and deletes it.
create table if not exists outbox (
	id            text      primary key,
	kind          text      not null,
	token_id      text      not null,
	request_id    text      not null,
	created_at    timestamp not null,
	claimed_until timestamp not null
);
