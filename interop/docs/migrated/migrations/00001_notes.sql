-- +goose Up
create table notes (id text primary key, text text not null);

-- +goose Down
drop table notes;
