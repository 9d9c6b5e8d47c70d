CREATE TABLE IF NOT EXISTS buildings (
    id serial PRIMARY KEY, name text NOT NULL, address text NOT NULL, units int NOT NULL);
CREATE TABLE IF NOT EXISTS users (
    id serial PRIMARY KEY, email text NOT NULL UNIQUE, salt text NOT NULL, password_sha256 text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS expenses (
    id serial PRIMARY KEY, building_id int NOT NULL REFERENCES buildings, label text NOT NULL,
    amount_cents bigint NOT NULL CHECK (amount_cents > 0),
    created_at timestamptz NOT NULL DEFAULT now(), validated_at timestamptz);
CREATE TABLE IF NOT EXISTS payments (
    id serial PRIMARY KEY, expense_id int NOT NULL REFERENCES expenses, amount_cents bigint NOT NULL,
    due_at timestamptz NOT NULL, paid_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS sessions (
    user_id int NOT NULL REFERENCES users, at timestamptz NOT NULL DEFAULT now());

INSERT INTO buildings (name, address, units)
SELECT 'Résidence ' || (ARRAY['des Tilleuls', 'du Parc', 'Bellevue', 'des Arts', 'Saint-Michel'])[1 + n % 5] || ' ' || n,
       n || ' rue de la Loi, 1040 Bruxelles', 6 + n % 30
FROM generate_series(1, 40) AS n WHERE NOT EXISTS (SELECT FROM buildings);

INSERT INTO users (email, salt, password_sha256, created_at)
SELECT 'owner' || n || '@koprogo.example', 'salt' || n,
       encode(sha256(convert_to('salt' || n || 'tilleul-' || n, 'UTF8')), 'hex'),
       now() - n * interval '7 hours'
FROM generate_series(1, 200) AS n WHERE NOT EXISTS (SELECT FROM users);

INSERT INTO expenses (building_id, label, amount_cents, created_at, validated_at)
SELECT 1 + n % 40, (ARRAY['Ascenseur', 'Nettoyage', 'Toiture', 'Assurance', 'Électricité'])[1 + n % 5],
       5000 + n * 137 % 90000, now() - n * interval '3 hours',
       CASE WHEN n % 4 > 0 THEN now() - n * interval '3 hours' + interval '1 day' END
FROM generate_series(1, 2000) AS n WHERE NOT EXISTS (SELECT FROM expenses);

INSERT INTO payments (expense_id, amount_cents, due_at, paid_at)
SELECT n, 5000, now() - n * interval '2 hours',
       now() - n * interval '2 hours' + CASE WHEN n % 8 = 0 THEN 3 ELSE -2 END * interval '1 day'
FROM generate_series(1, 1500) AS n WHERE NOT EXISTS (SELECT FROM payments);

INSERT INTO sessions (user_id, at)
SELECT 1 + n % 140, now() - n * interval '40 minutes'
FROM generate_series(1, 1000) AS n WHERE NOT EXISTS (SELECT FROM sessions);
