create table if not exists authors (id integer primary key, name text not null);
create table if not exists books (
	id integer primary key,
	author_id integer not null references authors (id),
	title text not null
);
create table if not exists a_first (id integer primary key, book_id integer references books (id));
