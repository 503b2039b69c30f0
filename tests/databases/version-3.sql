SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE TYPE public.studydirection AS ENUM (
    'NOT_SET',
    'MINIMIZE',
    'MAXIMIZE'
);
CREATE TYPE public.trialintermediatevaluetype AS ENUM (
    'FINITE',
    'INF_POS',
    'INF_NEG',
    'NAN'
);
CREATE TYPE public.trialstate AS ENUM (
    'RUNNING',
    'COMPLETE',
    'PRUNED',
    'FAIL',
    'WAITING'
);
CREATE TYPE public.trialvaluetype AS ENUM (
    'FINITE',
    'INF_POS',
    'INF_NEG'
);
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.alexsearch_epochs (
    trial_id integer NOT NULL,
    epoch integer NOT NULL,
    loss double precision,
    accuracy double precision,
    val_loss double precision,
    val_accuracy double precision,
    learning_rate double precision,
    seconds double precision NOT NULL,
    metrics text
);
CREATE TABLE public.alexsearch_slots (
    slot_id character varying(32) NOT NULL,
    study_id integer NOT NULL,
    trial_id integer,
    host character varying(255) NOT NULL,
    machine character varying(255) NOT NULL,
    pid integer NOT NULL,
    process_started double precision NOT NULL,
    device character varying(255) NOT NULL,
    epoch integer NOT NULL,
    images_per_second double precision NOT NULL,
    beats integer NOT NULL,
    beat_at double precision NOT NULL
);
CREATE TABLE public.alexsearch_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.studies (
    study_id integer NOT NULL,
    study_name character varying(512) NOT NULL
);
CREATE SEQUENCE public.studies_study_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.studies_study_id_seq OWNED BY public.studies.study_id;
CREATE TABLE public.study_directions (
    study_direction_id integer NOT NULL,
    direction public.studydirection NOT NULL,
    study_id integer NOT NULL,
    objective integer NOT NULL
);
CREATE SEQUENCE public.study_directions_study_direction_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.study_directions_study_direction_id_seq OWNED BY public.study_directions.study_direction_id;
CREATE TABLE public.study_system_attributes (
    study_system_attribute_id integer NOT NULL,
    study_id integer,
    key character varying(512),
    value_json text
);
CREATE SEQUENCE public.study_system_attributes_study_system_attribute_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.study_system_attributes_study_system_attribute_id_seq OWNED BY public.study_system_attributes.study_system_attribute_id;
CREATE TABLE public.study_user_attributes (
    study_user_attribute_id integer NOT NULL,
    study_id integer,
    key character varying(512),
    value_json text
);
CREATE SEQUENCE public.study_user_attributes_study_user_attribute_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.study_user_attributes_study_user_attribute_id_seq OWNED BY public.study_user_attributes.study_user_attribute_id;
CREATE TABLE public.trial_heartbeats (
    trial_heartbeat_id integer NOT NULL,
    trial_id integer NOT NULL,
    heartbeat timestamp without time zone NOT NULL
);
CREATE SEQUENCE public.trial_heartbeats_trial_heartbeat_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trial_heartbeats_trial_heartbeat_id_seq OWNED BY public.trial_heartbeats.trial_heartbeat_id;
CREATE TABLE public.trial_intermediate_values (
    trial_intermediate_value_id integer NOT NULL,
    trial_id integer NOT NULL,
    step integer NOT NULL,
    intermediate_value double precision,
    intermediate_value_type public.trialintermediatevaluetype NOT NULL
);
CREATE SEQUENCE public.trial_intermediate_values_trial_intermediate_value_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trial_intermediate_values_trial_intermediate_value_id_seq OWNED BY public.trial_intermediate_values.trial_intermediate_value_id;
CREATE TABLE public.trial_params (
    param_id integer NOT NULL,
    trial_id integer,
    param_name character varying(512),
    param_value double precision,
    distribution_json text
);
CREATE SEQUENCE public.trial_params_param_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trial_params_param_id_seq OWNED BY public.trial_params.param_id;
CREATE TABLE public.trial_system_attributes (
    trial_system_attribute_id integer NOT NULL,
    trial_id integer,
    key character varying(512),
    value_json text
);
CREATE SEQUENCE public.trial_system_attributes_trial_system_attribute_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trial_system_attributes_trial_system_attribute_id_seq OWNED BY public.trial_system_attributes.trial_system_attribute_id;
CREATE TABLE public.trial_user_attributes (
    trial_user_attribute_id integer NOT NULL,
    trial_id integer,
    key character varying(512),
    value_json text
);
CREATE SEQUENCE public.trial_user_attributes_trial_user_attribute_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trial_user_attributes_trial_user_attribute_id_seq OWNED BY public.trial_user_attributes.trial_user_attribute_id;
CREATE TABLE public.trial_values (
    trial_value_id integer NOT NULL,
    trial_id integer NOT NULL,
    objective integer NOT NULL,
    value double precision,
    value_type public.trialvaluetype NOT NULL
);
CREATE SEQUENCE public.trial_values_trial_value_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trial_values_trial_value_id_seq OWNED BY public.trial_values.trial_value_id;
CREATE TABLE public.trials (
    trial_id integer NOT NULL,
    number integer,
    study_id integer,
    state public.trialstate NOT NULL,
    datetime_start timestamp without time zone,
    datetime_complete timestamp without time zone
);
CREATE SEQUENCE public.trials_trial_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trials_trial_id_seq OWNED BY public.trials.trial_id;
CREATE TABLE public.version_info (
    version_info_id integer NOT NULL,
    schema_version integer,
    library_version character varying(256),
    CONSTRAINT version_info_version_info_id_check CHECK ((version_info_id = 1))
);
ALTER TABLE ONLY public.studies ALTER COLUMN study_id SET DEFAULT nextval('public.studies_study_id_seq'::regclass);
ALTER TABLE ONLY public.study_directions ALTER COLUMN study_direction_id SET DEFAULT nextval('public.study_directions_study_direction_id_seq'::regclass);
ALTER TABLE ONLY public.study_system_attributes ALTER COLUMN study_system_attribute_id SET DEFAULT nextval('public.study_system_attributes_study_system_attribute_id_seq'::regclass);
ALTER TABLE ONLY public.study_user_attributes ALTER COLUMN study_user_attribute_id SET DEFAULT nextval('public.study_user_attributes_study_user_attribute_id_seq'::regclass);
ALTER TABLE ONLY public.trial_heartbeats ALTER COLUMN trial_heartbeat_id SET DEFAULT nextval('public.trial_heartbeats_trial_heartbeat_id_seq'::regclass);
ALTER TABLE ONLY public.trial_intermediate_values ALTER COLUMN trial_intermediate_value_id SET DEFAULT nextval('public.trial_intermediate_values_trial_intermediate_value_id_seq'::regclass);
ALTER TABLE ONLY public.trial_params ALTER COLUMN param_id SET DEFAULT nextval('public.trial_params_param_id_seq'::regclass);
ALTER TABLE ONLY public.trial_system_attributes ALTER COLUMN trial_system_attribute_id SET DEFAULT nextval('public.trial_system_attributes_trial_system_attribute_id_seq'::regclass);
ALTER TABLE ONLY public.trial_user_attributes ALTER COLUMN trial_user_attribute_id SET DEFAULT nextval('public.trial_user_attributes_trial_user_attribute_id_seq'::regclass);
ALTER TABLE ONLY public.trial_values ALTER COLUMN trial_value_id SET DEFAULT nextval('public.trial_values_trial_value_id_seq'::regclass);
ALTER TABLE ONLY public.trials ALTER COLUMN trial_id SET DEFAULT nextval('public.trials_trial_id_seq'::regclass);
INSERT INTO public.alembic_version VALUES
	('v3.2.0.a');
INSERT INTO public.alexsearch_epochs VALUES
	(1, 1, 1, 0.4, 1, 0.4, 0.01, 2, NULL),
	(1, 2, 1, 0.4, 1, 0.4, 0.01, 2, NULL),
	(1, 3, 1, 0.4, 1, 0.4, 0.01, 2, NULL),
	(2, 1, 1, 0.6, 1, 0.6, 0.02, 2, NULL),
	(2, 2, 1, 0.6, 1, 0.6, 0.02, 2, NULL),
	(2, 3, 1, 0.6, 1, 0.6, 0.02, 2, NULL),
	(3, 1, 1, 0.2, 1, 0.2, 0.03, 2, NULL),
	(4, 1, 1, 0.2, 1, 0.2, 0.04, 2, NULL),
	(8, 1, NULL, NULL, NULL, NULL, NULL, 2, '{"val_accuracy": 0.3}'),
	(9, 1, NULL, NULL, NULL, NULL, NULL, 2, '{"rmse": 2.25, "loss": 0.5, "val_loss": 0.625}'),
	(9, 2, NULL, NULL, NULL, NULL, NULL, 2, '{"rmse": 1.5, "loss": 0.5, "val_loss": 0.625}'),
	(9, 3, NULL, NULL, NULL, NULL, NULL, 2, '{"rmse": 0.75, "loss": 0.5, "val_loss": 0.625}'),
	(10, 1, NULL, NULL, NULL, NULL, NULL, 2, '{"rmse": 0.750375, "loss": 0.5, "val_loss": 0.625}'),
	(10, 2, NULL, NULL, NULL, NULL, NULL, 2, '{"rmse": 0.50025, "loss": 0.5, "val_loss": 0.625}'),
	(10, 3, NULL, NULL, NULL, NULL, NULL, 2, '{"rmse": 0.250125, "loss": 0.5, "val_loss": 0.625}'),
	(11, 1, NULL, NULL, NULL, NULL, NULL, 2, '{"rmse": 3.0, "loss": 0.5, "val_loss": 0.625}'),
	(12, 1, NULL, NULL, NULL, NULL, NULL, 2, '{"rmse": 3.0, "loss": 0.5, "val_loss": 0.625}'),
	(13, 1, NULL, NULL, NULL, NULL, NULL, 2, '{"rmse": 37.5, "loss": 0.5, "val_loss": 0.625}'),
	(13, 2, NULL, NULL, NULL, NULL, NULL, 2, '{"rmse": 25.0, "loss": 0.5, "val_loss": 0.625}'),
	(13, 3, NULL, NULL, NULL, NULL, NULL, 2, '{"rmse": 12.5, "loss": 0.5, "val_loss": 0.625}'),
	(14, 1, NULL, NULL, NULL, NULL, NULL, 2, '{"rmse": 3.0, "loss": 0.5, "val_loss": 0.625}');
INSERT INTO public.alexsearch_version VALUES
	('3');
INSERT INTO public.studies VALUES
	(2, 'own'),
	(1, 'old'),
	(3, 'theirs');
INSERT INTO public.study_directions VALUES
	(1, 'MAXIMIZE', 1, 0),
	(2, 'MINIMIZE', 2, 0),
	(3, 'MINIMIZE', 3, 0),
	(4, 'MAXIMIZE', 3, 1);
INSERT INTO public.study_system_attributes VALUES
	(1, 1, 'study:metric_names', '["val_accuracy"]'),
	(2, 1, 'alexsearch:limits', '{"max_device_hours": 100.0, "target": null, "patience": 50, "min_gain": 0.0, "until_expected_gain": null}'),
	(3, 1, 'alexsearch:given', '[7]'),
	(4, 2, 'study:metric_names', '["rmse"]');
INSERT INTO public.study_user_attributes VALUES
	(1, 1, 'space', '{"study": {"name": "small", "trials": 4, "repeats": false, "seed": 0}, "data": {"source": "synthetic", "validation_images": 400, "split_seed": 0}, "space": {"batch_size": 32, "learning_rate": {"low": 0.001, "high": 0.1, "log": true}, "schedule": "constant", "epochs": 3}, "sampler": {"name": "gp", "n_startup_trials": 6}, "pruner": {"step_grace": 2, "name": "reach", "margin": 0.05, "confidence": 0.95, "n_warmup_steps": 1, "n_min_trials": 1}}'),
	(2, 1, 'data', '{"source": "synthetic", "fingerprint": "ffffffffffffffff", "train_images": 1600, "validation_images": 400}'),
	(3, 1, 'uid', '"ce8d2b339c164159affa120fa4429a0b"'),
	(4, 1, 'retrained', '{"1": {"trial": 1, "searched": 0.6, "split": "test", "seeds": [0, 1], "scores": [0.5, 0.52], "mean": 0.51, "spread": 0.014142135623730963, "interval": [0.382937952638253, 0.637062047361747], "images": 2000, "finished": "then", "folder": null, "report": null}}'),
	(5, 2, 'space', '{"study": {"name": "own", "trials": 7, "repeats": false, "seed": 0}, "space": {"lr": {"low": 1e-05, "high": 0.1, "log": true}, "layers": {"low": 1, "high": 4, "log": false}, "use_bn": {"choices": [true, false]}, "optimizer": {"choices": ["sgd", "adam"]}, "momentum": {"when": {"optimizer": ["sgd"]}, "low": 0.0, "high": 0.99, "log": false}, "clip": {"when": {"optimizer": ["sgd"]}, "value": 5}, "rounds": 3}, "sampler": {"name": "gp", "n_startup_trials": 6}, "pruner": {"step_grace": 2, "name": "reach", "margin_share": 0.1, "confidence": 0.95, "n_warmup_steps": 1, "n_min_trials": 1}, "train": {"function": "train.py:fit", "metric": "rmse", "direction": "minimize", "epochs": "rounds", "epoch_seconds": 3600.0}}'),
	(6, 2, 'data', '{"source": "train.py:fit", "fingerprint": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "versions": {"python": "3.12", "torch": "2.13"}}'),
	(7, 2, 'uid', '"bac1014e36964401978dfb80fd68103b"'),
	(8, 1, 'alexsearch', '"0.1.0"');
INSERT INTO public.trial_intermediate_values VALUES
	(1, 1, 1, 0.4, 'FINITE'),
	(2, 1, 2, 0.4, 'FINITE'),
	(3, 1, 3, 0.4, 'FINITE'),
	(4, 2, 1, 0.6, 'FINITE'),
	(5, 2, 2, 0.6, 'FINITE'),
	(6, 2, 3, 0.6, 'FINITE'),
	(7, 3, 1, 0.2, 'FINITE'),
	(8, 4, 1, 0.2, 'FINITE'),
	(9, 8, 1, 0.3, 'FINITE'),
	(10, 9, 1, 2.25, 'FINITE'),
	(11, 9, 2, 1.5, 'FINITE'),
	(12, 9, 3, 0.75, 'FINITE'),
	(13, 10, 1, 0.750375, 'FINITE'),
	(14, 10, 2, 0.50025, 'FINITE'),
	(15, 10, 3, 0.250125, 'FINITE'),
	(16, 11, 1, 3, 'FINITE'),
	(17, 12, 1, 3, 'FINITE'),
	(18, 13, 1, 37.5, 'FINITE'),
	(19, 13, 2, 25, 'FINITE'),
	(20, 13, 3, 12.5, 'FINITE'),
	(21, 14, 1, 3, 'FINITE');
INSERT INTO public.trial_params VALUES
	(1, 1, 'learning_rate', 0.01, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 0.1, "log": true}}'),
	(2, 2, 'learning_rate', 0.02, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 0.1, "log": true}}'),
	(3, 3, 'learning_rate', 0.03, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 0.1, "log": true}}'),
	(4, 4, 'learning_rate', 0.04, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 0.1, "log": true}}'),
	(5, 9, 'lr', 0.01, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 1e-05, "high": 0.1, "log": true}}'),
	(6, 9, 'layers', 1, '{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 4}}'),
	(7, 9, 'use_bn', 0, '{"name": "CategoricalDistribution", "attributes": {"choices": [true, false]}}'),
	(8, 9, 'optimizer', 0, '{"name": "CategoricalDistribution", "attributes": {"choices": ["sgd", "adam"]}}'),
	(9, 9, 'momentum', 0.5, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.99, "log": false}}'),
	(10, 10, 'lr', 0.02, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 1e-05, "high": 0.1, "log": true}}'),
	(11, 10, 'layers', 2, '{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 4}}'),
	(12, 10, 'use_bn', 1, '{"name": "CategoricalDistribution", "attributes": {"choices": [true, false]}}'),
	(13, 10, 'optimizer', 1, '{"name": "CategoricalDistribution", "attributes": {"choices": ["sgd", "adam"]}}'),
	(14, 11, 'lr', 0.03, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 1e-05, "high": 0.1, "log": true}}'),
	(15, 11, 'layers', 3, '{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 4}}'),
	(16, 11, 'use_bn', 0, '{"name": "CategoricalDistribution", "attributes": {"choices": [true, false]}}'),
	(17, 11, 'optimizer', 0, '{"name": "CategoricalDistribution", "attributes": {"choices": ["sgd", "adam"]}}'),
	(18, 11, 'momentum', 0.5, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.99, "log": false}}'),
	(19, 12, 'lr', 0.04, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 1e-05, "high": 0.1, "log": true}}'),
	(20, 12, 'layers', 4, '{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 4}}'),
	(21, 12, 'use_bn', 1, '{"name": "CategoricalDistribution", "attributes": {"choices": [true, false]}}'),
	(22, 12, 'optimizer', 1, '{"name": "CategoricalDistribution", "attributes": {"choices": ["sgd", "adam"]}}'),
	(23, 13, 'lr', 0.05, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 1e-05, "high": 0.1, "log": true}}'),
	(24, 13, 'layers', 1, '{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 4}}'),
	(25, 13, 'use_bn', 0, '{"name": "CategoricalDistribution", "attributes": {"choices": [true, false]}}'),
	(26, 13, 'optimizer', 0, '{"name": "CategoricalDistribution", "attributes": {"choices": ["sgd", "adam"]}}'),
	(27, 13, 'momentum', 0.5, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.99, "log": false}}'),
	(28, 14, 'lr', 0.06, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 1e-05, "high": 0.1, "log": true}}'),
	(29, 14, 'layers', 2, '{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 4}}'),
	(30, 14, 'use_bn', 1, '{"name": "CategoricalDistribution", "attributes": {"choices": [true, false]}}'),
	(31, 14, 'optimizer', 1, '{"name": "CategoricalDistribution", "attributes": {"choices": ["sgd", "adam"]}}');
INSERT INTO public.trial_system_attributes VALUES
	(1, 1, 'artifacts:0b30e83c-9066-47b2-992f-000000000001', '"{\"artifact_id\": \"0b30e83c-9066-47b2-992f-000000000001\", \"filename\": \"curves.png\", \"mimetype\": \"image/png\", \"encoding\": null}"'),
	(2, 1, 'artifacts:07a705d9-a50b-489f-8e0b-000000000001', '"{\"artifact_id\": \"07a705d9-a50b-489f-8e0b-000000000001\", \"filename\": \"epochs.csv\", \"mimetype\": \"text/csv\", \"encoding\": null}"'),
	(3, 2, 'artifacts:da311265-00e3-43ff-aa70-000000000002', '"{\"artifact_id\": \"da311265-00e3-43ff-aa70-000000000002\", \"filename\": \"curves.png\", \"mimetype\": \"image/png\", \"encoding\": null}"'),
	(4, 2, 'artifacts:50a5caa0-fddb-41ee-9c3f-000000000002', '"{\"artifact_id\": \"50a5caa0-fddb-41ee-9c3f-000000000002\", \"filename\": \"epochs.csv\", \"mimetype\": \"text/csv\", \"encoding\": null}"'),
	(5, 3, 'artifacts:f0d3b8e4-5d1c-436b-899e-000000000003', '"{\"artifact_id\": \"f0d3b8e4-5d1c-436b-899e-000000000003\", \"filename\": \"curves.png\", \"mimetype\": \"image/png\", \"encoding\": null}"'),
	(6, 3, 'artifacts:bed90f73-e324-41dd-ab84-000000000003', '"{\"artifact_id\": \"bed90f73-e324-41dd-ab84-000000000003\", \"filename\": \"epochs.csv\", \"mimetype\": \"text/csv\", \"encoding\": null}"'),
	(7, 4, 'artifacts:430dd8c7-ec48-4bd7-891d-000000000004', '"{\"artifact_id\": \"430dd8c7-ec48-4bd7-891d-000000000004\", \"filename\": \"curves.png\", \"mimetype\": \"image/png\", \"encoding\": null}"'),
	(8, 4, 'artifacts:0b328440-f88d-4f52-b805-000000000004', '"{\"artifact_id\": \"0b328440-f88d-4f52-b805-000000000004\", \"filename\": \"epochs.csv\", \"mimetype\": \"text/csv\", \"encoding\": null}"'),
	(9, 8, 'fixed_params', '{"learning_rate": 0.05}'),
	(10, 9, 'artifacts:59b60647-ac9c-47ca-9d7d-000000000009', '"{\"artifact_id\": \"59b60647-ac9c-47ca-9d7d-000000000009\", \"filename\": \"curves.png\", \"mimetype\": \"image/png\", \"encoding\": null}"'),
	(11, 9, 'artifacts:53dd825b-ae6e-4acc-aec5-000000000009', '"{\"artifact_id\": \"53dd825b-ae6e-4acc-aec5-000000000009\", \"filename\": \"epochs.csv\", \"mimetype\": \"text/csv\", \"encoding\": null}"'),
	(12, 10, 'artifacts:2c1196c0-39b1-4b3b-a55f-00000000000a', '"{\"artifact_id\": \"2c1196c0-39b1-4b3b-a55f-00000000000a\", \"filename\": \"curves.png\", \"mimetype\": \"image/png\", \"encoding\": null}"'),
	(13, 10, 'artifacts:7bd31183-b692-4b9d-b255-00000000000a', '"{\"artifact_id\": \"7bd31183-b692-4b9d-b255-00000000000a\", \"filename\": \"epochs.csv\", \"mimetype\": \"text/csv\", \"encoding\": null}"'),
	(14, 11, 'artifacts:e6c2dfbf-5032-4e9e-a1f3-00000000000b', '"{\"artifact_id\": \"e6c2dfbf-5032-4e9e-a1f3-00000000000b\", \"filename\": \"curves.png\", \"mimetype\": \"image/png\", \"encoding\": null}"'),
	(15, 11, 'artifacts:0e2e96dc-605f-4921-977e-00000000000b', '"{\"artifact_id\": \"0e2e96dc-605f-4921-977e-00000000000b\", \"filename\": \"epochs.csv\", \"mimetype\": \"text/csv\", \"encoding\": null}"'),
	(16, 12, 'artifacts:56c33a77-1240-4fcf-9d04-00000000000c', '"{\"artifact_id\": \"56c33a77-1240-4fcf-9d04-00000000000c\", \"filename\": \"curves.png\", \"mimetype\": \"image/png\", \"encoding\": null}"'),
	(17, 12, 'artifacts:94f5af88-9396-4040-98f7-00000000000c', '"{\"artifact_id\": \"94f5af88-9396-4040-98f7-00000000000c\", \"filename\": \"epochs.csv\", \"mimetype\": \"text/csv\", \"encoding\": null}"'),
	(18, 13, 'artifacts:21e21456-2c2e-4974-9bc2-00000000000d', '"{\"artifact_id\": \"21e21456-2c2e-4974-9bc2-00000000000d\", \"filename\": \"curves.png\", \"mimetype\": \"image/png\", \"encoding\": null}"'),
	(19, 13, 'artifacts:7da1e3e6-acec-47ba-8d31-00000000000d', '"{\"artifact_id\": \"7da1e3e6-acec-47ba-8d31-00000000000d\", \"filename\": \"epochs.csv\", \"mimetype\": \"text/csv\", \"encoding\": null}"');
INSERT INTO public.trial_user_attributes VALUES
	(1, 1, 'config', '{"batch_size": 32, "learning_rate": 0.01, "epochs": 3, "schedule": "constant", "seed": 0, "precision": "float32"}'),
	(2, 1, 'data_fingerprint', '"ffffffffffffffff"'),
	(3, 1, 'device', '"cpu"'),
	(4, 1, 'git_commit', 'null'),
	(5, 1, 'versions', '{"python": "3.11"}'),
	(6, 1, 'host', '"here"'),
	(7, 1, 'epochs_run', '3'),
	(8, 1, 'seconds', '6.0'),
	(9, 2, 'config', '{"batch_size": 32, "learning_rate": 0.02, "epochs": 3, "schedule": "constant", "seed": 1, "precision": "float32"}'),
	(10, 2, 'data_fingerprint', '"ffffffffffffffff"'),
	(11, 2, 'device', '"cpu"'),
	(12, 2, 'git_commit', 'null'),
	(13, 2, 'versions', '{"python": "3.11"}'),
	(14, 2, 'host', '"here"'),
	(15, 2, 'epochs_run', '3'),
	(16, 2, 'seconds', '6.0'),
	(17, 3, 'config', '{"batch_size": 32, "learning_rate": 0.03, "epochs": 3, "schedule": "constant", "seed": 2, "precision": "float32"}'),
	(18, 3, 'data_fingerprint', '"ffffffffffffffff"'),
	(19, 3, 'device', '"cpu"'),
	(20, 3, 'git_commit', 'null'),
	(21, 3, 'versions', '{"python": "3.11"}'),
	(22, 3, 'host', '"here"'),
	(23, 3, 'epochs_run', '1'),
	(24, 3, 'seconds', '2.0'),
	(25, 4, 'config', '{"batch_size": 32, "learning_rate": 0.04, "epochs": 3, "schedule": "constant", "seed": 3, "precision": "float32"}'),
	(26, 4, 'data_fingerprint', '"ffffffffffffffff"'),
	(27, 4, 'device', '"cpu"'),
	(28, 4, 'git_commit', 'null'),
	(29, 4, 'versions', '{"python": "3.11"}'),
	(30, 4, 'host', '"here"'),
	(31, 4, 'epochs_run', '1'),
	(32, 4, 'seconds', '2.0'),
	(33, 4, 'failure', '"diverged"'),
	(34, 4, 'reason', '"the loss became NaN"'),
	(35, 8, 'pauses', '[{"epoch": 1, "paused": "2026-01-01T00:00:00+00:00", "machine": "here"}]'),
	(36, 9, 'config', '{"params": {"lr": 0.01, "layers": 1, "use_bn": true, "optimizer": "sgd", "momentum": 0.5, "clip": 5, "rounds": 3}, "epochs": 3, "seed": 0}'),
	(37, 9, 'device', '"cpu"'),
	(38, 9, 'host', '"here"'),
	(39, 9, 'data_fingerprint', '"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"'),
	(40, 9, 'git_commit', 'null'),
	(41, 9, 'versions', '{"python": "3.12", "torch": "2.13"}'),
	(42, 9, 'epochs_run', '3'),
	(43, 9, 'seconds', '6.0'),
	(44, 10, 'config', '{"params": {"lr": 0.02, "layers": 2, "use_bn": false, "optimizer": "adam", "rounds": 3}, "epochs": 3, "seed": 1}'),
	(45, 10, 'device', '"cpu"'),
	(46, 10, 'host', '"here"'),
	(47, 10, 'data_fingerprint', '"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"'),
	(48, 10, 'git_commit', 'null'),
	(49, 10, 'versions', '{"python": "3.12", "torch": "2.13"}'),
	(50, 10, 'epochs_run', '3'),
	(51, 10, 'seconds', '6.0'),
	(52, 11, 'config', '{"params": {"lr": 0.03, "layers": 3, "use_bn": true, "optimizer": "sgd", "momentum": 0.5, "clip": 5, "rounds": 3}, "epochs": 3, "seed": 2}'),
	(53, 11, 'device', '"cpu"'),
	(54, 11, 'host', '"here"'),
	(55, 11, 'data_fingerprint', '"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"'),
	(56, 11, 'git_commit', 'null'),
	(57, 11, 'versions', '{"python": "3.12", "torch": "2.13"}'),
	(58, 11, 'epochs_run', '1'),
	(59, 11, 'seconds', '2.0'),
	(60, 12, 'config', '{"params": {"lr": 0.04, "layers": 4, "use_bn": false, "optimizer": "adam", "rounds": 3}, "epochs": 3, "seed": 3}'),
	(61, 12, 'device', '"cpu"'),
	(62, 12, 'host', '"here"'),
	(63, 12, 'data_fingerprint', '"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"'),
	(64, 12, 'git_commit', 'null'),
	(65, 12, 'versions', '{"python": "3.12", "torch": "2.13"}'),
	(66, 12, 'epochs_run', '1'),
	(67, 12, 'seconds', '2.0'),
	(68, 12, 'failure', '"diverged"'),
	(69, 12, 'reason', '"the rmse became NaN"'),
	(70, 13, 'config', '{"params": {"lr": 0.05, "layers": 1, "use_bn": true, "optimizer": "sgd", "momentum": 0.5, "clip": 5, "rounds": 3}, "epochs": 3, "seed": 4}'),
	(71, 13, 'device', '"cpu"'),
	(72, 13, 'host', '"here"'),
	(73, 13, 'data_fingerprint', '"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"'),
	(74, 13, 'git_commit', 'null'),
	(75, 13, 'versions', '{"python": "3.12", "torch": "2.13"}'),
	(76, 13, 'epochs_run', '3'),
	(77, 13, 'seconds', '6.0'),
	(78, 14, 'config', '{"params": {"lr": 0.06, "layers": 2, "use_bn": false, "optimizer": "adam", "rounds": 3}, "epochs": 3, "seed": 5}'),
	(79, 14, 'device', '"cpu"'),
	(80, 14, 'host', '"here"'),
	(81, 14, 'data_fingerprint', '"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"'),
	(82, 14, 'git_commit', 'null'),
	(83, 14, 'versions', '{"python": "3.12", "torch": "2.13"}');
INSERT INTO public.trial_values VALUES
	(1, 1, 0, 0.4, 'FINITE'),
	(2, 2, 0, 0.6, 'FINITE'),
	(3, 3, 0, 0.2, 'FINITE'),
	(4, 9, 0, 0.75, 'FINITE'),
	(5, 10, 0, 0.250125, 'FINITE'),
	(6, 11, 0, 3, 'FINITE'),
	(7, 13, 0, 12.5, 'FINITE'),
	(8, 16, 0, 1, 'FINITE'),
	(9, 16, 1, 2, 'FINITE'),
	(10, 17, 0, 3, 'FINITE'),
	(11, 17, 1, NULL, 'INF_POS');
INSERT INTO public.trials VALUES
	(6, 5, 1, 'WAITING', NULL, NULL),
	(7, 6, 1, 'WAITING', NULL, NULL),
	(1, 0, 1, 'COMPLETE', '2026-11-26 20:40:15.038356', '2026-11-26 20:40:15.105215'),
	(2, 1, 1, 'COMPLETE', '2026-11-26 20:40:15.117092', '2026-11-26 20:40:15.161137'),
	(3, 2, 1, 'PRUNED', '2026-11-26 20:40:15.174483', '2026-11-26 20:40:15.20664'),
	(4, 3, 1, 'FAIL', '2026-11-26 20:40:15.217252', '2026-11-26 20:40:15.253538'),
	(5, 4, 1, 'WAITING', '2026-11-26 20:40:15.259458', NULL),
	(8, 7, 1, 'WAITING', '2026-11-26 20:40:15.324308', NULL),
	(15, 6, 2, 'WAITING', NULL, NULL),
	(9, 0, 2, 'COMPLETE', '2026-11-26 20:40:15.428829', '2026-11-26 20:40:15.541994'),
	(10, 1, 2, 'COMPLETE', '2026-11-26 20:40:15.564193', '2026-11-26 20:40:15.64478'),
	(11, 2, 2, 'PRUNED', '2026-11-26 20:40:15.648183', '2026-11-26 20:40:15.697457'),
	(12, 3, 2, 'FAIL', '2026-11-26 20:40:15.708087', '2026-11-26 20:40:15.748121'),
	(13, 4, 2, 'COMPLETE', '2026-11-26 20:40:15.753745', '2026-11-26 20:40:15.807366'),
	(14, 5, 2, 'WAITING', '2026-11-26 20:40:15.822023', NULL),
	(16, 0, 3, 'COMPLETE', '2026-11-26 20:40:15.937294', '2026-11-26 20:40:15.937294'),
	(17, 1, 3, 'COMPLETE', '2026-11-26 20:40:15.963799', '2026-11-26 20:40:15.963799');
INSERT INTO public.version_info VALUES
	(1, 12, '5.0.0');
SELECT pg_catalog.setval('public.studies_study_id_seq', 3, true);
SELECT pg_catalog.setval('public.study_directions_study_direction_id_seq', 4, true);
SELECT pg_catalog.setval('public.study_system_attributes_study_system_attribute_id_seq', 4, true);
SELECT pg_catalog.setval('public.study_user_attributes_study_user_attribute_id_seq', 8, true);
SELECT pg_catalog.setval('public.trial_heartbeats_trial_heartbeat_id_seq', 1, false);
SELECT pg_catalog.setval('public.trial_intermediate_values_trial_intermediate_value_id_seq', 21, true);
SELECT pg_catalog.setval('public.trial_params_param_id_seq', 31, true);
SELECT pg_catalog.setval('public.trial_system_attributes_trial_system_attribute_id_seq', 19, true);
SELECT pg_catalog.setval('public.trial_user_attributes_trial_user_attribute_id_seq', 83, true);
SELECT pg_catalog.setval('public.trial_values_trial_value_id_seq', 11, true);
SELECT pg_catalog.setval('public.trials_trial_id_seq', 17, true);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.alexsearch_epochs
    ADD CONSTRAINT alexsearch_epochs_pkey PRIMARY KEY (trial_id, epoch);
ALTER TABLE ONLY public.alexsearch_slots
    ADD CONSTRAINT alexsearch_slots_pkey PRIMARY KEY (slot_id);
ALTER TABLE ONLY public.alexsearch_slots
    ADD CONSTRAINT alexsearch_slots_trial_id_key UNIQUE (trial_id);
ALTER TABLE ONLY public.alexsearch_version
    ADD CONSTRAINT alexsearch_version_pkey PRIMARY KEY (version_num);
ALTER TABLE ONLY public.studies
    ADD CONSTRAINT studies_pkey PRIMARY KEY (study_id);
ALTER TABLE ONLY public.study_directions
    ADD CONSTRAINT study_directions_pkey PRIMARY KEY (study_direction_id);
ALTER TABLE ONLY public.study_directions
    ADD CONSTRAINT study_directions_study_id_objective_key UNIQUE (study_id, objective);
ALTER TABLE ONLY public.study_system_attributes
    ADD CONSTRAINT study_system_attributes_pkey PRIMARY KEY (study_system_attribute_id);
ALTER TABLE ONLY public.study_system_attributes
    ADD CONSTRAINT study_system_attributes_study_id_key_key UNIQUE (study_id, key);
ALTER TABLE ONLY public.study_user_attributes
    ADD CONSTRAINT study_user_attributes_pkey PRIMARY KEY (study_user_attribute_id);
ALTER TABLE ONLY public.study_user_attributes
    ADD CONSTRAINT study_user_attributes_study_id_key_key UNIQUE (study_id, key);
ALTER TABLE ONLY public.trial_heartbeats
    ADD CONSTRAINT trial_heartbeats_pkey PRIMARY KEY (trial_heartbeat_id);
ALTER TABLE ONLY public.trial_heartbeats
    ADD CONSTRAINT trial_heartbeats_trial_id_key UNIQUE (trial_id);
ALTER TABLE ONLY public.trial_intermediate_values
    ADD CONSTRAINT trial_intermediate_values_pkey PRIMARY KEY (trial_intermediate_value_id);
ALTER TABLE ONLY public.trial_intermediate_values
    ADD CONSTRAINT trial_intermediate_values_trial_id_step_key UNIQUE (trial_id, step);
ALTER TABLE ONLY public.trial_params
    ADD CONSTRAINT trial_params_pkey PRIMARY KEY (param_id);
ALTER TABLE ONLY public.trial_params
    ADD CONSTRAINT trial_params_trial_id_param_name_key UNIQUE (trial_id, param_name);
ALTER TABLE ONLY public.trial_system_attributes
    ADD CONSTRAINT trial_system_attributes_pkey PRIMARY KEY (trial_system_attribute_id);
ALTER TABLE ONLY public.trial_system_attributes
    ADD CONSTRAINT trial_system_attributes_trial_id_key_key UNIQUE (trial_id, key);
ALTER TABLE ONLY public.trial_user_attributes
    ADD CONSTRAINT trial_user_attributes_pkey PRIMARY KEY (trial_user_attribute_id);
ALTER TABLE ONLY public.trial_user_attributes
    ADD CONSTRAINT trial_user_attributes_trial_id_key_key UNIQUE (trial_id, key);
ALTER TABLE ONLY public.trial_values
    ADD CONSTRAINT trial_values_pkey PRIMARY KEY (trial_value_id);
ALTER TABLE ONLY public.trial_values
    ADD CONSTRAINT trial_values_trial_id_objective_key UNIQUE (trial_id, objective);
ALTER TABLE ONLY public.trials
    ADD CONSTRAINT trials_pkey PRIMARY KEY (trial_id);
ALTER TABLE ONLY public.version_info
    ADD CONSTRAINT version_info_pkey PRIMARY KEY (version_info_id);
CREATE INDEX ix_alexsearch_slots_study_id ON public.alexsearch_slots USING btree (study_id);
CREATE UNIQUE INDEX ix_studies_study_name ON public.studies USING btree (study_name);
CREATE INDEX ix_trials_study_id ON public.trials USING btree (study_id);
ALTER TABLE ONLY public.study_directions
    ADD CONSTRAINT study_directions_study_id_fkey FOREIGN KEY (study_id) REFERENCES public.studies(study_id);
ALTER TABLE ONLY public.study_system_attributes
    ADD CONSTRAINT study_system_attributes_study_id_fkey FOREIGN KEY (study_id) REFERENCES public.studies(study_id);
ALTER TABLE ONLY public.study_user_attributes
    ADD CONSTRAINT study_user_attributes_study_id_fkey FOREIGN KEY (study_id) REFERENCES public.studies(study_id);
ALTER TABLE ONLY public.trial_heartbeats
    ADD CONSTRAINT trial_heartbeats_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id);
ALTER TABLE ONLY public.trial_intermediate_values
    ADD CONSTRAINT trial_intermediate_values_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id);
ALTER TABLE ONLY public.trial_params
    ADD CONSTRAINT trial_params_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id);
ALTER TABLE ONLY public.trial_system_attributes
    ADD CONSTRAINT trial_system_attributes_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id);
ALTER TABLE ONLY public.trial_user_attributes
    ADD CONSTRAINT trial_user_attributes_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id);
ALTER TABLE ONLY public.trial_values
    ADD CONSTRAINT trial_values_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id);
ALTER TABLE ONLY public.trials
    ADD CONSTRAINT trials_study_id_fkey FOREIGN KEY (study_id) REFERENCES public.studies(study_id);
