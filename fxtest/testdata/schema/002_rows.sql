insert into authors (id, name) values (1, 'Ada') on conflict (id) do nothing;
insert into books (id, author_id, title) values (1, 1, 'Notes; a "translation"') on conflict (id) do nothing;
