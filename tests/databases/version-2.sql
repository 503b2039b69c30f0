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
    loss double precision NOT NULL,
    accuracy double precision NOT NULL,
    val_loss double precision NOT NULL,
    val_accuracy double precision NOT NULL,
    learning_rate double precision NOT NULL,
    seconds double precision NOT NULL
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
	(1, 1, 0.7741780090332031, 0.780625, 2.178635559082031, 0.6, 0.01, 5.379169121000359),
	(1, 2, 0.0991471290588379, 0.99375, 2.0379592895507814, 0.6225, 0.01, 2.844370514000275),
	(1, 3, 0.04262394428253174, 0.998125, 1.7294009399414063, 0.7675, 0.01, 2.72037083000032),
	(3, 1, 2.1221247855195213e+31, 0.11125, 2.3050811767578123, 0.1, 0.32100535601168523, 3.674444194999978),
	(4, 1, 0.4878570175170898, 0.896875, 0.8156372833251954, 0.8975, 0.06813777503925814, 2.966539240000202),
	(4, 2, 0.01162139892578125, 1, 0.11279998779296875, 0.9975, 0.06813777503925814, 1.4332113850000496),
	(4, 3, 0.005073294639587402, 0.999375, 0.027356696128845216, 1, 0.06813777503925814, 3.1397045899998375),
	(5, 1, 0.44771991729736327, 0.895, 0.805068359375, 0.9875, 0.06045081139283894, 2.478869937000127),
	(5, 2, 0.011811102628707887, 1, 0.15550000190734864, 0.9975, 0.06045081139283894, 2.6492116979998173),
	(5, 3, 0.005371232628822327, 1, 0.04185807228088379, 0.9975, 0.06045081139283894, 2.445913145999839);
INSERT INTO public.alexsearch_version VALUES
	('2');
INSERT INTO public.studies VALUES
	(3, 'theirs'),
	(1, 'old');
INSERT INTO public.study_directions VALUES
	(1, 'MAXIMIZE', 1, 0),
	(2, 'MINIMIZE', 3, 0);
INSERT INTO public.study_system_attributes VALUES
	(1, 1, 'study:metric_names', '["val_accuracy"]'),
	(5, 1, 'dashboard:1:note_ver', '1'),
	(6, 1, 'dashboard:1:note_str:0', '"**Complete** at **0.7675**. Trained to its last epoch, the 3rd.\n\nIt took 11 s on AMD EPYC, host host.\n\n| setting | value |\n|---|---|\n| batch_size | 32 |\n| learning_rate | 0.01 |\n| epochs | 3 |\n| schedule | constant |\n| warmup_epochs | 0 |\n| optimizer | sgd |\n| momentum | 0 |\n| weight_decay | 0 |\n| dropout | 0.5 |\n| label_smoothing | 0 |\n| augmentation | none |\n| seed | 3831201730 |\n| precision | bfloat16 |"'),
	(7, 1, 'dashboard:2:note_ver', '1'),
	(8, 1, 'dashboard:2:note_str:0', '"**Failed**. Diverged: The loss became nan in epoch 1, step 3 of 50, at learning rate 610.639. Use a smaller learning_rate or a larger batch_size. Its loss or accuracy stopped being a finite number: with these values training runs away. It is not repeated, and the sampler learns to avoid them.\n\nIt took 0 s on AMD EPYC, host host.\n\n| setting | value |\n|---|---|\n| batch_size | 32 |\n| learning_rate | 611 |\n| epochs | 3 |\n| schedule | constant |\n| warmup_epochs | 0 |\n| optimizer | sgd |\n| momentum | 0 |\n| weight_decay | 0 |\n| dropout | 0.5 |\n| label_smoothing | 0 |\n| augmentation | none |\n| seed | 901243215 |\n| precision | bfloat16 |"'),
	(9, 1, 'dashboard:3:note_ver', '1'),
	(10, 1, 'dashboard:3:note_str:0', '"**Pruned**. Stopped after epoch 1 of 3 at 0.1000: the pruner held it against the trials before it and saw no hope for it.\n\nIt took 4 s on AMD EPYC, host host.\n\n| setting | value |\n|---|---|\n| batch_size | 32 |\n| learning_rate | 0.321 |\n| epochs | 3 |\n| schedule | constant |\n| warmup_epochs | 0 |\n| optimizer | sgd |\n| momentum | 0 |\n| weight_decay | 0 |\n| dropout | 0.5 |\n| label_smoothing | 0 |\n| augmentation | none |\n| seed | 1961547765 |\n| precision | bfloat16 |"'),
	(11, 1, 'dashboard:4:note_ver', '1'),
	(12, 1, 'dashboard:4:note_str:0', '"**Complete** at **1.0000**. Trained to its last epoch, the 3rd.\n\nIt took 8 s on AMD EPYC, host host.\n\n| setting | value |\n|---|---|\n| batch_size | 32 |\n| learning_rate | 0.0681 |\n| epochs | 3 |\n| schedule | constant |\n| warmup_epochs | 0 |\n| optimizer | sgd |\n| momentum | 0 |\n| weight_decay | 0 |\n| dropout | 0.5 |\n| label_smoothing | 0 |\n| augmentation | none |\n| seed | 3679268941 |\n| precision | bfloat16 |"'),
	(13, 1, 'dashboard:5:note_ver', '1'),
	(14, 1, 'dashboard:5:note_str:0', '"**Complete** at **0.9975**. Trained to its last epoch, the 3rd.\n\nIt took 8 s on AMD EPYC, host host.\n\n| setting | value |\n|---|---|\n| batch_size | 32 |\n| learning_rate | 0.0605 |\n| epochs | 3 |\n| schedule | constant |\n| warmup_epochs | 0 |\n| optimizer | sgd |\n| momentum | 0 |\n| weight_decay | 0 |\n| dropout | 0.5 |\n| label_smoothing | 0 |\n| augmentation | none |\n| seed | 2040376534 |\n| precision | bfloat16 |"'),
	(15, 1, 'dashboard:plot_data:alexsearch-learning-curves:0', '"{\"data\":[{\"connectgaps\":false,\"customdata\":[2,null],\"hovertemplate\":\"trial %{customdata}, epoch %{x}: %{y:.2%}\\u003cextra\\u003e\\u003c\\u002fextra\\u003e\",\"line\":{\"color\":\"#E69F00\",\"width\":1.2},\"marker\":{\"color\":\"#E69F00\",\"size\":4,\"symbol\":\"circle\"},\"mode\":\"lines+markers\",\"name\":\"pruned (1)\",\"opacity\":0.6,\"x\":[1,null],\"y\":[0.1,null],\"type\":\"scatter\"},{\"connectgaps\":false,\"customdata\":[0,0,0,null,4,4,4,null],\"hovertemplate\":\"trial %{customdata}, epoch %{x}: %{y:.2%}\\u003cextra\\u003e\\u003c\\u002fextra\\u003e\",\"line\":{\"color\":\"#0072B2\",\"width\":1.2},\"marker\":{\"color\":\"#0072B2\",\"size\":4,\"symbol\":\"square\"},\"mode\":\"lines+markers\",\"name\":\"complete (2)\",\"opacity\":0.6,\"x\":[1,2,3,null,1,2,3,null],\"y\":[0.6,0.6225,0.7675,null,0.9875,0.9975,0.9975,null],\"type\":\"scatter\"},{\"connectgaps\":false,\"customdata\":[3,3,3,null],\"hovertemplate\":\"trial %{customdata}, epoch %{x}: %{y:.2%}\\u003cextra\\u003e\\u003c\\u002fextra\\u003e\",\"line\":{\"color\":\"#009E73\",\"width\":3},\"marker\":{\"color\":\"#009E73\",\"size\":4,\"symbol\":\"square\"},\"mode\":\"lines+markers\",\"name\":\"best: trial 3\",\"opacity\":1,\"x\":[1,2,3,null],\"y\":[0.8975,0.9975,1.0,null],\"type\":\"scatter\"}],\"layout\":{\"font\":{\"color\":\"#737b85\",\"family\":\"system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif\",\"size\":12},\"hoverlabel\":{\"font\":{\"family\":\"system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif\"}},\"legend\":{\"orientation\":\"h\",\"x\":0,\"y\":-0.2,\"yanchor\":\"top\"},\"margin\":{\"b\":40,\"l\":56,\"r\":16,\"t\":44},\"modebar\":{\"activecolor\":\"#737b85\",\"bgcolor\":\"rgba(0, 0, 0, 0)\",\"color\":\"rgba(128, 136, 148, 0.22)\"},\"paper_bgcolor\":\"rgba(0, 0, 0, 0)\",\"plot_bgcolor\":\"rgba(0, 0, 0, 0)\",\"template\":{\"data\":{\"scatter\":[{\"type\":\"scatter\"}]}},\"title\":{\"font\":{\"size\":15},\"text\":\"Learning curves of all trials\",\"x\":0,\"xref\":\"paper\"},\"xaxis\":{\"automargin\":true,\"gridcolor\":\"rgba(128, 136, 148, 0.22)\",\"linecolor\":\"rgba(128, 136, 148, 0.22)\",\"title\":{\"standoff\":6,\"text\":\"epoch\"},\"zerolinecolor\":\"rgba(128, 136, 148, 0.22)\",\"rangemode\":\"tozero\"},\"yaxis\":{\"automargin\":true,\"gridcolor\":\"rgba(128, 136, 148, 0.22)\",\"linecolor\":\"rgba(128, 136, 148, 0.22)\",\"tickformat\":\".0%\",\"title\":{\"standoff\":6,\"text\":\"validation accuracy\"},\"zerolinecolor\":\"rgba(128, 136, 148, 0.22)\"}}}"'),
	(16, 1, 'dashboard:plot_data:alexsearch-seconds:0', '"{\"data\":[{\"customdata\":[2],\"hovertemplate\":\"trial %{customdata}: %{y:.2%}\\u003cextra\\u003e\\u003c\\u002fextra\\u003e\",\"marker\":{\"color\":\"#E69F00\",\"size\":7,\"symbol\":\"circle\"},\"mode\":\"markers\",\"name\":\"pruned, last epoch\",\"opacity\":0.8,\"x\":[3.7],\"y\":[0.1],\"type\":\"scatter\"},{\"customdata\":[0,3,4],\"hovertemplate\":\"trial %{customdata}: %{y:.2%}\\u003cextra\\u003e\\u003c\\u002fextra\\u003e\",\"marker\":{\"color\":\"#0072B2\",\"size\":7,\"symbol\":\"square\"},\"mode\":\"markers\",\"name\":\"complete\",\"opacity\":0.8,\"x\":[10.9,7.5,7.6],\"y\":[0.7675,1.0,0.9975],\"type\":\"scatter\"},{\"hoverinfo\":\"skip\",\"line\":{\"color\":\"#009E73\",\"shape\":\"hv\",\"width\":2},\"mode\":\"lines\",\"name\":\"best for the time\",\"x\":[7.5,10.9],\"y\":[1.0,1.0],\"type\":\"scatter\"}],\"layout\":{\"font\":{\"color\":\"#737b85\",\"family\":\"system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif\",\"size\":12},\"hoverlabel\":{\"font\":{\"family\":\"system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif\"}},\"legend\":{\"orientation\":\"h\",\"x\":0,\"y\":-0.2,\"yanchor\":\"top\"},\"margin\":{\"b\":40,\"l\":56,\"r\":16,\"t\":44},\"modebar\":{\"activecolor\":\"#737b85\",\"bgcolor\":\"rgba(0, 0, 0, 0)\",\"color\":\"rgba(128, 136, 148, 0.22)\"},\"paper_bgcolor\":\"rgba(0, 0, 0, 0)\",\"plot_bgcolor\":\"rgba(0, 0, 0, 0)\",\"template\":{\"data\":{\"scatter\":[{\"type\":\"scatter\"}]}},\"title\":{\"font\":{\"size\":15},\"text\":\"What a device-second bought\",\"x\":0,\"xref\":\"paper\"},\"xaxis\":{\"automargin\":true,\"gridcolor\":\"rgba(128, 136, 148, 0.22)\",\"linecolor\":\"rgba(128, 136, 148, 0.22)\",\"title\":{\"standoff\":6,\"text\":\"device-seconds of a trial\"},\"zerolinecolor\":\"rgba(128, 136, 148, 0.22)\",\"rangemode\":\"tozero\"},\"yaxis\":{\"automargin\":true,\"gridcolor\":\"rgba(128, 136, 148, 0.22)\",\"linecolor\":\"rgba(128, 136, 148, 0.22)\",\"tickformat\":\".0%\",\"title\":{\"standoff\":6,\"text\":\"validation accuracy\"},\"zerolinecolor\":\"rgba(128, 136, 148, 0.22)\"}}}"'),
	(17, 1, 'dashboard:plot_data:alexsearch-pruning:0', '"{\"data\":[{\"hovertemplate\":\"median at epoch %{x}: %{y:.2%}\\u003cextra\\u003e\\u003c\\u002fextra\\u003e\",\"line\":{\"color\":\"#0072B2\",\"width\":2},\"mode\":\"lines\",\"name\":\"median of the complete trials\",\"x\":[1,2,3],\"y\":[0.8975,0.9975,0.9975],\"type\":\"scatter\"},{\"customdata\":[2],\"hovertemplate\":\"trial %{customdata}: %{y:.2%}\\u003cextra\\u003e\\u003c\\u002fextra\\u003e\",\"marker\":{\"color\":\"#E69F00\",\"size\":7,\"symbol\":\"circle\"},\"mode\":\"markers\",\"name\":\"pruned (1)\",\"opacity\":0.8,\"x\":[1],\"y\":[0.1],\"type\":\"scatter\"}],\"layout\":{\"font\":{\"color\":\"#737b85\",\"family\":\"system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif\",\"size\":12},\"hoverlabel\":{\"font\":{\"family\":\"system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif\"}},\"legend\":{\"orientation\":\"h\",\"x\":0,\"y\":-0.2,\"yanchor\":\"top\"},\"margin\":{\"b\":40,\"l\":56,\"r\":16,\"t\":44},\"modebar\":{\"activecolor\":\"#737b85\",\"bgcolor\":\"rgba(0, 0, 0, 0)\",\"color\":\"rgba(128, 136, 148, 0.22)\"},\"paper_bgcolor\":\"rgba(0, 0, 0, 0)\",\"plot_bgcolor\":\"rgba(0, 0, 0, 0)\",\"template\":{\"data\":{\"scatter\":[{\"type\":\"scatter\"}]}},\"title\":{\"font\":{\"size\":15},\"text\":\"Where pruning stopped trials\",\"x\":0,\"xref\":\"paper\"},\"xaxis\":{\"automargin\":true,\"gridcolor\":\"rgba(128, 136, 148, 0.22)\",\"linecolor\":\"rgba(128, 136, 148, 0.22)\",\"title\":{\"standoff\":6,\"text\":\"epoch\"},\"zerolinecolor\":\"rgba(128, 136, 148, 0.22)\",\"rangemode\":\"tozero\"},\"yaxis\":{\"automargin\":true,\"gridcolor\":\"rgba(128, 136, 148, 0.22)\",\"linecolor\":\"rgba(128, 136, 148, 0.22)\",\"tickformat\":\".0%\",\"title\":{\"standoff\":6,\"text\":\"validation accuracy\"},\"zerolinecolor\":\"rgba(128, 136, 148, 0.22)\"}}}"'),
	(3, 1, 'dashboard:note_ver', '2'),
	(4, 1, 'dashboard:note_str:0', '"## Which learning_rate gives the network its highest validation accuracy?\n\n| | |\n|---|---|\n| best | **1.0000** validation accuracy, trial 3: learning_rate 0.0681 |\n| gain | **+0.2325** over the baseline''s 0.7675 (trial 0) |\n| budget | 6 of 6 settled: 3 complete, 1 pruned, 2 failed |\n| cost | 30 s of device time; pruning saved about 7 s |\n| data | synthetic: 1,600 training and 400 validation images |\n| learning_rate | 1e-05 to 1e+03, log |\n| fixed | batch_size 32, schedule constant, epochs 3 |\n\n```\nalexsearch report --study old -o report.html\nalexsearch export --study old -o best.toml\nalexsearch retrain best.toml\n```\n\n*Kept up to date by alexsearch. What you write below this line stays.*"'),
	(18, 1, 'dashboard:plot_data:alexsearch-lanes:0', '"{\"data\":[{\"base\":[\"2026-11-26 13:40:43\"],\"customdata\":[2],\"hovertemplate\":\"trial %{customdata}, from %{base|%H:%M:%S}\\u003cbr\\u003e%{y}\\u003cextra\\u003e\\u003c\\u002fextra\\u003e\",\"marker\":{\"color\":\"#E69F00\",\"line\":{\"width\":0}},\"name\":\"pruned (1)\",\"orientation\":\"h\",\"x\":[4072],\"y\":[\"host slot-0 AMD EPYC\"],\"type\":\"bar\"},{\"base\":[\"2026-11-26 13:40:30\",\"2026-11-26 13:40:47\",\"2026-11-26 13:40:55\"],\"customdata\":[0,3,4],\"hovertemplate\":\"trial %{customdata}, from %{base|%H:%M:%S}\\u003cbr\\u003e%{y}\\u003cextra\\u003e\\u003c\\u002fextra\\u003e\",\"marker\":{\"color\":\"#0072B2\",\"line\":{\"width\":0}},\"name\":\"complete (3)\",\"orientation\":\"h\",\"x\":[12080,8286,8063],\"y\":[\"host slot-0 AMD EPYC\",\"host slot-0 AMD EPYC\",\"host slot-0 AMD EPYC\"],\"type\":\"bar\"},{\"base\":[\"2026-11-26 13:40:42\",\"2026-11-26 13:41:23\"],\"customdata\":[1,5],\"hovertemplate\":\"trial %{customdata}, from %{base|%H:%M:%S}\\u003cbr\\u003e%{y}\\u003cextra\\u003e\\u003c\\u002fextra\\u003e\",\"marker\":{\"color\":\"#CC79A7\",\"line\":{\"width\":0}},\"name\":\"failed (2)\",\"orientation\":\"h\",\"x\":[238,91],\"y\":[\"host slot-0 AMD EPYC\",\"unknown\"],\"type\":\"bar\"}],\"layout\":{\"font\":{\"color\":\"#737b85\",\"family\":\"system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif\",\"size\":12},\"hoverlabel\":{\"font\":{\"family\":\"system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif\"}},\"legend\":{\"orientation\":\"h\",\"x\":0,\"y\":-0.2,\"yanchor\":\"top\"},\"margin\":{\"b\":40,\"l\":56,\"r\":16,\"t\":44},\"modebar\":{\"activecolor\":\"#737b85\",\"bgcolor\":\"rgba(0, 0, 0, 0)\",\"color\":\"rgba(128, 136, 148, 0.22)\"},\"paper_bgcolor\":\"rgba(0, 0, 0, 0)\",\"plot_bgcolor\":\"rgba(0, 0, 0, 0)\",\"template\":{\"data\":{\"scatter\":[{\"type\":\"scatter\"}]}},\"title\":{\"font\":{\"size\":15},\"text\":\"What ran where\",\"x\":0,\"xref\":\"paper\"},\"xaxis\":{\"automargin\":true,\"gridcolor\":\"rgba(128, 136, 148, 0.22)\",\"linecolor\":\"rgba(128, 136, 148, 0.22)\",\"title\":{\"standoff\":6,\"text\":\"\"},\"zerolinecolor\":\"rgba(128, 136, 148, 0.22)\",\"type\":\"date\"},\"yaxis\":{\"automargin\":true,\"gridcolor\":\"rgba(128, 136, 148, 0.22)\",\"linecolor\":\"rgba(128, 136, 148, 0.22)\",\"title\":{\"standoff\":6,\"text\":\"\"},\"zerolinecolor\":\"rgba(128, 136, 148, 0.22)\",\"categoryorder\":\"array\",\"categoryarray\":[\"host slot-0 AMD EPYC\",\"unknown\"],\"showgrid\":false},\"barmode\":\"overlay\",\"bargap\":0.25}}"'),
	(20, 1, 'dashboard:6:note_ver', '1'),
	(21, 1, 'dashboard:6:note_str:0', '"**Failed**. Values: &#96;-1.0&#96; is invalid value for the case log=True. What it ran into need not be its own fault."'),
	(22, 1, 'alexsearch:limits', '{"max_device_hours": null, "target": null}');
INSERT INTO public.study_user_attributes VALUES
	(1, 1, 'space', '{"study": {"name": "old", "trials": 5, "repeats": false, "seed": 0}, "data": {"source": "synthetic", "validation_images": 400, "split_seed": 0}, "space": {"batch_size": 32, "learning_rate": {"low": 1e-05, "high": 1000.0, "log": true}, "schedule": "constant", "epochs": 3}, "sampler": {"name": "random"}, "pruner": {"step_grace": 2, "n_startup_trials": 1, "n_warmup_steps": 1, "interval_steps": 1, "n_min_trials": 1, "name": "median"}, "baseline": {"learning_rate": 0.01}}'),
	(2, 1, 'data', '{"source": "synthetic", "fingerprint": "sha256:fbd6a84840df6935f39e0a9245d5a223c0b26bc8ea3f6b0f9ac9158a9c96967b", "source_images": 2000, "train_images": 1600, "validation_images": 400, "classes": ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]}'),
	(3, 1, 'uid', '"1f130544f9444616a0d2f75515577de9"'),
	(4, 1, 'retrained', '{"3": {"trial": 3, "searched": 1.0, "split": "test", "seeds": [1, 2], "scores": [0.5, 0.52], "mean": 0.51, "spread": 0.014142135623730963, "interval": [0.382937952638253, 0.637062047361747], "images": 2000, "finished": "2026-11-26T12:00:00Z", "folder": "runs/old", "report": null}}');
INSERT INTO public.trial_intermediate_values VALUES
	(1, 1, 1, 0.6, 'FINITE'),
	(2, 1, 2, 0.6225, 'FINITE'),
	(3, 1, 3, 0.7675, 'FINITE'),
	(4, 3, 1, 0.1, 'FINITE'),
	(5, 4, 1, 0.8975, 'FINITE'),
	(6, 4, 2, 0.9975, 'FINITE'),
	(7, 4, 3, 1, 'FINITE'),
	(8, 5, 1, 0.9875, 'FINITE'),
	(9, 5, 2, 0.9975, 'FINITE'),
	(10, 5, 3, 0.9975, 'FINITE');
INSERT INTO public.trial_params VALUES
	(1, 1, 'learning_rate', 0.01, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 1e-05, "high": 1000.0, "log": true}}'),
	(2, 2, 'learning_rate', 610.638811620697, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 1e-05, "high": 1000.0, "log": true}}'),
	(3, 3, 'learning_rate', 0.32100535601168523, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 1e-05, "high": 1000.0, "log": true}}'),
	(4, 4, 'learning_rate', 0.06813777503925814, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 1e-05, "high": 1000.0, "log": true}}'),
	(5, 5, 'learning_rate', 0.06045081139283894, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 1e-05, "high": 1000.0, "log": true}}'),
	(6, 11, 'x', 0.9843862517721121, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 1.0, "log": false}}'),
	(7, 12, 'x', 0.5633047194190534, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 1.0, "log": false}}');
INSERT INTO public.trial_system_attributes VALUES
	(1, 1, 'fixed_params', '{"learning_rate": 0.01}'),
	(2, 1, 'artifacts:832581ef-709b-46c5-97e1-000000000001', '"{\"artifact_id\": \"832581ef-709b-46c5-97e1-000000000001\", \"filename\": \"curves.png\", \"mimetype\": \"image/png\", \"encoding\": null}"'),
	(3, 1, 'artifacts:de0ba7d1-67aa-4504-8a2c-000000000001', '"{\"artifact_id\": \"de0ba7d1-67aa-4504-8a2c-000000000001\", \"filename\": \"epochs.csv\", \"mimetype\": \"text/csv\", \"encoding\": null}"'),
	(4, 3, 'artifacts:9920d365-430e-414b-9487-000000000003', '"{\"artifact_id\": \"9920d365-430e-414b-9487-000000000003\", \"filename\": \"curves.png\", \"mimetype\": \"image/png\", \"encoding\": null}"'),
	(5, 3, 'artifacts:0c8b8aa4-d973-4ed1-8e74-000000000003', '"{\"artifact_id\": \"0c8b8aa4-d973-4ed1-8e74-000000000003\", \"filename\": \"epochs.csv\", \"mimetype\": \"text/csv\", \"encoding\": null}"'),
	(6, 4, 'artifacts:cbadfc05-e914-492a-81e0-000000000004', '"{\"artifact_id\": \"cbadfc05-e914-492a-81e0-000000000004\", \"filename\": \"curves.png\", \"mimetype\": \"image/png\", \"encoding\": null}"'),
	(7, 4, 'artifacts:c690a92e-40fe-4ccf-b97b-000000000004', '"{\"artifact_id\": \"c690a92e-40fe-4ccf-b97b-000000000004\", \"filename\": \"epochs.csv\", \"mimetype\": \"text/csv\", \"encoding\": null}"'),
	(8, 5, 'artifacts:63b33b07-3392-41c7-b4a2-000000000005', '"{\"artifact_id\": \"63b33b07-3392-41c7-b4a2-000000000005\", \"filename\": \"curves.png\", \"mimetype\": \"image/png\", \"encoding\": null}"'),
	(9, 5, 'artifacts:5e90faae-f7c1-4f00-9f9c-000000000005', '"{\"artifact_id\": \"5e90faae-f7c1-4f00-9f9c-000000000005\", \"filename\": \"epochs.csv\", \"mimetype\": \"text/csv\", \"encoding\": null}"'),
	(10, 6, 'fixed_params', '{"learning_rate": -1.0}'),
	(11, 7, 'alexsearch:attempts', '4'),
	(15, 8, 'alexsearch:attempts', '4'),
	(19, 9, 'alexsearch:attempts', '4');
INSERT INTO public.trial_user_attributes VALUES
	(1, 1, 'config', '{"batch_size": 32, "learning_rate": 0.01, "epochs": 3, "schedule": "constant", "warmup_epochs": 0, "optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "dropout": 0.5, "label_smoothing": 0.0, "augmentation": "none", "seed": 3831201730, "precision": "bfloat16"}'),
	(2, 1, 'data_fingerprint', '"sha256:fbd6a84840df6935f39e0a9245d5a223c0b26bc8ea3f6b0f9ac9158a9c96967b"'),
	(3, 1, 'device', '"AMD EPYC"'),
	(4, 1, 'slot', '"slot-0"'),
	(5, 1, 'threads', '2'),
	(6, 1, 'versions', '{"python": "3.11.7", "alexsearch": "0.1.0", "tensorflow": "2.21.0", "keras": "3.15.1", "numpy": "2.4.6", "optuna": "5.0.0"}'),
	(9, 1, 'epochs_run', '3'),
	(10, 1, 'seconds', '10.944'),
	(11, 1, 'images_per_second', '640.6'),
	(12, 2, 'config', '{"batch_size": 32, "learning_rate": 610.638811620697, "epochs": 3, "schedule": "constant", "warmup_epochs": 0, "optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "dropout": 0.5, "label_smoothing": 0.0, "augmentation": "none", "seed": 901243215, "precision": "bfloat16"}'),
	(13, 2, 'data_fingerprint', '"sha256:fbd6a84840df6935f39e0a9245d5a223c0b26bc8ea3f6b0f9ac9158a9c96967b"'),
	(14, 2, 'device', '"AMD EPYC"'),
	(15, 2, 'slot', '"slot-0"'),
	(16, 2, 'threads', '2'),
	(17, 2, 'versions', '{"python": "3.11.7", "alexsearch": "0.1.0", "tensorflow": "2.21.0", "keras": "3.15.1", "numpy": "2.4.6", "optuna": "5.0.0"}'),
	(21, 2, 'epochs_run', '0'),
	(22, 2, 'seconds', '0'),
	(23, 2, 'images_per_second', '0.0'),
	(24, 3, 'config', '{"batch_size": 32, "learning_rate": 0.32100535601168523, "epochs": 3, "schedule": "constant", "warmup_epochs": 0, "optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "dropout": 0.5, "label_smoothing": 0.0, "augmentation": "none", "seed": 1961547765, "precision": "bfloat16"}'),
	(25, 3, 'data_fingerprint', '"sha256:fbd6a84840df6935f39e0a9245d5a223c0b26bc8ea3f6b0f9ac9158a9c96967b"'),
	(26, 3, 'device', '"AMD EPYC"'),
	(27, 3, 'slot', '"slot-0"'),
	(28, 3, 'threads', '2'),
	(29, 3, 'versions', '{"python": "3.11.7", "alexsearch": "0.1.0", "tensorflow": "2.21.0", "keras": "3.15.1", "numpy": "2.4.6", "optuna": "5.0.0"}'),
	(32, 3, 'epochs_run', '1'),
	(33, 3, 'seconds', '3.674'),
	(34, 3, 'images_per_second', '469.2'),
	(35, 3, 'reason', '"pruned after epoch 1 of 3 at 0.1000"'),
	(36, 4, 'config', '{"batch_size": 32, "learning_rate": 0.06813777503925814, "epochs": 3, "schedule": "constant", "warmup_epochs": 0, "optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "dropout": 0.5, "label_smoothing": 0.0, "augmentation": "none", "seed": 3679268941, "precision": "bfloat16"}'),
	(37, 4, 'data_fingerprint', '"sha256:fbd6a84840df6935f39e0a9245d5a223c0b26bc8ea3f6b0f9ac9158a9c96967b"'),
	(38, 4, 'device', '"AMD EPYC"'),
	(39, 4, 'slot', '"slot-0"'),
	(40, 4, 'threads', '2'),
	(41, 4, 'versions', '{"python": "3.11.7", "alexsearch": "0.1.0", "tensorflow": "2.21.0", "keras": "3.15.1", "numpy": "2.4.6", "optuna": "5.0.0"}'),
	(44, 4, 'epochs_run', '3'),
	(45, 4, 'seconds', '7.539'),
	(46, 4, 'images_per_second', '553.3'),
	(47, 5, 'config', '{"batch_size": 32, "learning_rate": 0.06045081139283894, "epochs": 3, "schedule": "constant", "warmup_epochs": 0, "optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "dropout": 0.5, "label_smoothing": 0.0, "augmentation": "none", "seed": 2040376534, "precision": "bfloat16"}'),
	(48, 5, 'data_fingerprint', '"sha256:fbd6a84840df6935f39e0a9245d5a223c0b26bc8ea3f6b0f9ac9158a9c96967b"'),
	(49, 5, 'device', '"AMD EPYC"'),
	(50, 5, 'slot', '"slot-0"'),
	(51, 5, 'threads', '2'),
	(52, 5, 'versions', '{"python": "3.11.7", "alexsearch": "0.1.0", "tensorflow": "2.21.0", "keras": "3.15.1", "numpy": "2.4.6", "optuna": "5.0.0"}'),
	(55, 5, 'epochs_run', '3'),
	(56, 5, 'seconds', '7.574'),
	(57, 5, 'images_per_second', '684.9'),
	(62, 11, 'reason', '"diverged: theirs"'),
	(8, 1, 'host', '"host"'),
	(19, 2, 'host', '"host"'),
	(31, 3, 'host', '"host"'),
	(43, 4, 'host', '"host"'),
	(54, 5, 'host', '"host"'),
	(7, 1, 'git_commit', 'null'),
	(18, 2, 'git_commit', 'null'),
	(30, 3, 'git_commit', 'null'),
	(42, 4, 'git_commit', 'null'),
	(53, 5, 'git_commit', 'null'),
	(20, 2, 'reason', '"The loss became nan in epoch 1, step 3 of 50, at learning rate 610.639. Use a smaller learning_rate or a larger batch_size."'),
	(63, 2, 'failure', '"diverged"'),
	(58, 6, 'reason', '"`-1.0` is invalid value for the case log=True."'),
	(64, 6, 'failure', '"values"'),
	(59, 7, 'reason', '"training process was killed by signal 9"'),
	(65, 7, 'failure', '"crashed"'),
	(66, 7, 'crashes', '4'),
	(60, 8, 'reason', '"the kernel killed the training process to free memory"'),
	(67, 8, 'failure', '"out-of-memory"'),
	(68, 8, 'crashes', '4'),
	(61, 9, 'reason', '"the worker died"'),
	(69, 9, 'failure', '"crashed"'),
	(70, 9, 'crashes', '4');
INSERT INTO public.trial_values VALUES
	(1, 1, 0, 0.7675, 'FINITE'),
	(2, 3, 0, 0.1, 'FINITE'),
	(3, 4, 0, 1, 'FINITE'),
	(4, 5, 0, 0.9975, 'FINITE'),
	(5, 12, 0, 0.5, 'FINITE');
INSERT INTO public.trials VALUES
	(1, 0, 1, 'COMPLETE', '2026-11-26 13:40:30.707548', '2026-11-26 13:40:42.787765'),
	(2, 1, 1, 'FAIL', '2026-11-26 13:40:42.833609', '2026-11-26 13:40:43.071519'),
	(3, 2, 1, 'PRUNED', '2026-11-26 13:40:43.092309', '2026-11-26 13:40:47.164432'),
	(4, 3, 1, 'COMPLETE', '2026-11-26 13:40:47.206888', '2026-11-26 13:40:55.492732'),
	(5, 4, 1, 'COMPLETE', '2026-11-26 13:40:55.529303', '2026-11-26 13:41:03.592532'),
	(6, 5, 1, 'FAIL', '2026-11-26 13:41:23.045584', '2026-11-26 13:41:23.136308'),
	(10, 9, 1, 'WAITING', NULL, NULL),
	(7, 6, 1, 'FAIL', '2026-11-26 13:41:28.096442', '2026-11-26 13:41:28.135752'),
	(8, 7, 1, 'FAIL', '2026-11-26 13:41:28.359638', '2026-11-26 13:41:28.397498'),
	(9, 8, 1, 'FAIL', '2026-11-26 13:41:28.696918', '2026-11-26 13:41:28.73149'),
	(11, 0, 3, 'FAIL', '2026-11-26 13:41:28.800932', '2026-11-26 13:41:28.959579'),
	(12, 1, 3, 'COMPLETE', '2026-11-26 13:41:29.004534', '2026-11-26 13:41:29.104756');
INSERT INTO public.version_info VALUES
	(1, 12, '5.0.0');
SELECT pg_catalog.setval('public.studies_study_id_seq', 3, true);
SELECT pg_catalog.setval('public.study_directions_study_direction_id_seq', 2, true);
SELECT pg_catalog.setval('public.study_system_attributes_study_system_attribute_id_seq', 22, true);
SELECT pg_catalog.setval('public.study_user_attributes_study_user_attribute_id_seq', 4, true);
SELECT pg_catalog.setval('public.trial_heartbeats_trial_heartbeat_id_seq', 1, false);
SELECT pg_catalog.setval('public.trial_intermediate_values_trial_intermediate_value_id_seq', 10, true);
SELECT pg_catalog.setval('public.trial_params_param_id_seq', 7, true);
SELECT pg_catalog.setval('public.trial_system_attributes_trial_system_attribute_id_seq', 22, true);
SELECT pg_catalog.setval('public.trial_user_attributes_trial_user_attribute_id_seq', 70, true);
SELECT pg_catalog.setval('public.trial_values_trial_value_id_seq', 5, true);
SELECT pg_catalog.setval('public.trials_trial_id_seq', 12, true);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.alexsearch_epochs
    ADD CONSTRAINT alexsearch_epochs_pkey PRIMARY KEY (trial_id, epoch);
ALTER TABLE ONLY public.alexsearch_slots
    ADD CONSTRAINT alexsearch_slots_pkey PRIMARY KEY (slot_id);
ALTER TABLE ONLY public.alexsearch_slots
    ADD CONSTRAINT alexsearch_slots_trial_id_key UNIQUE (trial_id);
ALTER TABLE ONLY public.alexsearch_version
    ADD CONSTRAINT alexsearch_version_pkc PRIMARY KEY (version_num);
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
