-- The far side of the wire where no TimescaleDB is to be had: functions and the view by the names, arguments and results
-- of TimescaleDB 2, which hold rows in plain tables and delete what lies in chunks that are old as a whole.
CREATE SCHEMA timescaledb_information;
CREATE SCHEMA standin;
CREATE TABLE standin.hypertable (id serial, relation regclass PRIMARY KEY, time_column name, chunk bigint);
CREATE VIEW timescaledb_information.hypertables AS
  SELECT n.nspname AS hypertable_schema, c.relname AS hypertable_name
  FROM standin.hypertable h JOIN pg_class c ON c.oid = h.relation JOIN pg_namespace n ON n.oid = c.relnamespace;

CREATE FUNCTION standin.create_hypertable(
  relation regclass, time_column_name name, partitioning_column name = NULL, number_partitions integer = NULL,
  associated_schema_name name = NULL, associated_table_prefix name = NULL, chunk_time_interval anyelement = NULL::bigint,
  create_default_indexes boolean = TRUE, if_not_exists boolean = FALSE, partitioning_func regproc = NULL,
  migrate_data boolean = FALSE, chunk_target_size text = NULL, chunk_sizing_func regproc = NULL,
  time_partitioning_func regproc = NULL
) RETURNS TABLE (hypertable_id integer, schema_name name, table_name name, created boolean) LANGUAGE plpgsql AS $$
DECLARE fresh boolean; filled boolean;
BEGIN
  fresh := NOT EXISTS (SELECT 1 FROM standin.hypertable h WHERE h.relation = $1);
  IF NOT fresh AND NOT if_not_exists THEN RAISE EXCEPTION 'table "%" is already a hypertable', $1; END IF;
  IF NOT EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = $1 AND a.attname = $2 AND a.attnotnull) THEN
    RAISE EXCEPTION 'column "%" does not exist or may be null', $2;
  END IF;
  IF EXISTS (
    SELECT 1 FROM pg_index i WHERE i.indrelid = $1 AND i.indisunique AND NOT EXISTS (
      SELECT 1 FROM pg_attribute a WHERE a.attrelid = $1 AND a.attname = $2 AND a.attnum = ANY (i.indkey))
  ) THEN RAISE EXCEPTION 'cannot create a unique index without the column "%" (used in partitioning)', $2; END IF;
  EXECUTE format('SELECT EXISTS (SELECT 1 FROM %s)', $1) INTO filled;
  IF fresh AND filled AND NOT migrate_data THEN RAISE EXCEPTION 'table "%" is not empty', $1; END IF;
  INSERT INTO standin.hypertable (relation, time_column, chunk) VALUES ($1, $2, $7) ON CONFLICT DO NOTHING;
  RETURN QUERY SELECT h.id, n.nspname, c.relname, fresh FROM standin.hypertable h
    JOIN pg_class c ON c.oid = h.relation JOIN pg_namespace n ON n.oid = c.relnamespace WHERE h.relation = $1;
END $$;

CREATE FUNCTION standin.drop_chunks(
  relation regclass, older_than bigint = NULL, newer_than bigint = NULL, verbose boolean = FALSE,
  created_before bigint = NULL, created_after bigint = NULL
) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE h standin.hypertable;
BEGIN
  SELECT * INTO STRICT h FROM standin.hypertable x WHERE x.relation = $1;
  RETURN QUERY EXECUTE format(
    'WITH gone AS (DELETE FROM %1$s WHERE (%2$I / %3$s + 1) * %3$s <= %4$s RETURNING %2$I / %3$s AS chunk) '
    'SELECT DISTINCT ''_hyper_'' || chunk || ''_chunk'' FROM gone', h.relation, h.time_column, h.chunk, $2);
END $$
