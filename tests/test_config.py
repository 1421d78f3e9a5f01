"""BatchMetricsConfig: the values it accepts and refuses, and its messages."""

import copy
import math
import pickle
import re
from datetime import timedelta
from http import HTTPStatus
from itertools import pairwise
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bad_values import HUGE, Changing, RaisingMapping, Unprintable, shown
from trio_batchmetrics import BatchMetricsConfig, BatchMetricsError, ConfigError, collector

DEFAULTS: dict[str, Any] = {
    "batch_size": 100,
    "flush_interval": 5.0,
    "buffer_size": 10_000,
    "enable_compression": False,
    "shutdown_timeout": 10.0,
    "on_full": "drop_newest",
    "max_series": 2000,
    "max_instruments": 1000,
    "static_labels": {},
    "bounds": {},
    "enabled": True,
}

FIELDS = list(DEFAULTS)
SIZES = ["batch_size", "buffer_size", "max_series", "max_instruments"]
DURATIONS = ["flush_interval", "shutdown_timeout"]
FLAGS = ["enable_compression", "enabled"]


def make(**values: Any) -> BatchMetricsConfig:
    """Create a configuration from values that no type checker would accept."""
    return BatchMetricsConfig(**values)


def refused(field: str, value: object, rule: str) -> "pytest.RaisesExc[ConfigError]":
    """Expect an error that names the field, the rule and the value."""
    words = f"{re.escape(field)} must be .*{rule}.* {re.escape(f'(got {value!r})')}"
    return pytest.raises(ConfigError, match=f"^{words}$")


def test_the_defaults_are_those_of_the_documentation() -> None:
    """Every field has its documented default, and there is no other field."""
    assert attrs.asdict(BatchMetricsConfig()) == DEFAULTS


def test_the_fields_are_keyword_only() -> None:
    """A positional value is refused, because the order of ten settings is hard to remember."""
    with pytest.raises(TypeError, match="positional"):
        BatchMetricsConfig(200)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("field", FIELDS)
def test_a_configuration_cannot_be_changed(field: str) -> None:
    """Setting a field raises, and leaves it as it was."""
    config = BatchMetricsConfig()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(config, field, DEFAULTS[field])
    assert config == BatchMetricsConfig()


def test_a_changed_copy_is_checked_too() -> None:
    """`attrs.evolve` makes a copy by the same rules."""
    config = attrs.evolve(BatchMetricsConfig(batch_size=7), buffer_size=70)
    assert (config.batch_size, config.buffer_size) == (7, 70)
    with refused("batch_size", 0, ">= 1"):
        attrs.evolve(config, batch_size=0)


def test_a_config_error_is_a_value_error_and_an_error_of_the_library() -> None:
    """A caller may catch either."""
    assert issubclass(ConfigError, ValueError)
    assert issubclass(ConfigError, BatchMetricsError)


# -- whole numbers


@pytest.mark.parametrize("field", SIZES)
@given(value=st.integers(min_value=1))
def test_a_size_may_be_any_positive_int(field: str, value: int) -> None:
    """The given value is kept."""
    assert getattr(make(**{field: value}), field) == value


@pytest.mark.parametrize("field", SIZES)
@given(value=st.integers(max_value=0))
def test_a_size_below_one_is_refused(field: str, value: int) -> None:
    """Zero and negative sizes make no sense."""
    with refused(field, value, ">= 1"):
        make(**{field: value})


@pytest.mark.parametrize("value", [True, False, 1.0, math.nan, "1", None, timedelta(seconds=1), [1]], ids=shown)
@pytest.mark.parametrize("field", SIZES)
def test_a_size_must_be_an_int_and_not_a_bool(field: str, value: object) -> None:
    """Nothing is converted silently."""
    with refused(field, value, "an int"):
        make(**{field: value})


# -- durations


@pytest.mark.parametrize("field", DURATIONS)
@given(value=st.floats() | st.integers())
def test_a_duration_is_accepted_if_and_only_if_it_is_finite_and_in_range(field: str, value: float) -> None:
    """Zero is allowed as a shutdown timeout, but not as a flush interval."""
    in_range = math.isfinite(value) and (value >= 0 if field == "shutdown_timeout" else value > 0)
    if in_range:
        assert getattr(make(**{field: value}), field) == value
    else:
        with refused(field, value, "a finite number of seconds"):
            make(**{field: value})


@pytest.mark.parametrize("field", DURATIONS)
@given(value=st.timedeltas(min_value=timedelta(microseconds=1)))
def test_a_duration_may_be_a_timedelta(field: str, value: timedelta) -> None:
    """It becomes float seconds."""
    seconds = getattr(make(**{field: value}), field)
    assert type(seconds) is float
    assert seconds == value.total_seconds()


@pytest.mark.parametrize("field", DURATIONS)
def test_a_negative_timedelta_is_refused(field: str) -> None:
    """The message shows it in seconds."""
    with refused(field, -1.5, "seconds"):
        make(**{field: timedelta(seconds=-1.5)})


def test_zero_is_allowed_as_a_shutdown_timeout_but_not_as_a_flush_interval() -> None:
    """Zero is tried as a number and as a timedelta."""
    assert make(shutdown_timeout=0).shutdown_timeout == 0
    assert make(shutdown_timeout=timedelta()).shutdown_timeout == 0
    with refused("flush_interval", 0, "> 0"):
        make(flush_interval=0)
    with refused("flush_interval", 0.0, "> 0"):
        make(flush_interval=timedelta())


@pytest.mark.parametrize("value", [True, False, "5", None, 5j, [5.0]], ids=shown)
@pytest.mark.parametrize("field", DURATIONS)
def test_a_duration_must_be_a_number_and_not_a_bool(field: str, value: object) -> None:
    """Nothing is converted silently."""
    with refused(field, value, "seconds"):
        make(**{field: value})


# Deviation reported: accepted.
@pytest.mark.parametrize("field", DURATIONS)
def test_an_int_that_no_float_can_hold_is_refused_as_a_duration(field: str) -> None:
    """It couldn't be added to a time."""
    with refused(field, HUGE, "a finite number of seconds"):
        make(**{field: HUGE})


# -- flags and the policy


@pytest.mark.parametrize("value", [0, 1, "true", None, []], ids=shown)
@pytest.mark.parametrize("field", FLAGS)
def test_a_flag_must_be_a_bool(field: str, value: object) -> None:
    """Truthy values aren't enough."""
    with refused(field, value, "True or False"):
        make(**{field: value})


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("field", FLAGS)
def test_a_flag_is_kept(field: str, value: bool) -> None:
    """Both values are tried."""
    assert getattr(make(**{field: value}), field) is value


def test_both_policies_are_known() -> None:
    """They decide what a full buffer does."""
    assert make(on_full="drop_newest").on_full == "drop_newest"
    assert make(on_full="drop_oldest").on_full == "drop_oldest"


@pytest.mark.parametrize("value", ["", "block", "DROP_OLDEST", None, True, ["drop_oldest"]], ids=shown)
def test_any_other_policy_is_refused_and_the_two_are_named(value: object) -> None:
    """The message lists the allowed values."""
    with refused("on_full", value, "'drop_newest' or 'drop_oldest'"):
        make(on_full=value)


# -- labels


def test_static_labels_are_captured_by_value() -> None:
    """Later changes to the caller's dict have no effect."""
    given_labels: dict[str, object] = {"service.name": "gateway", "shard": 3}
    config = make(static_labels=given_labels)
    given_labels["late"] = "label"
    del given_labels["shard"]
    assert config.static_labels == {"service.name": "gateway", "shard": 3}


@pytest.mark.parametrize("value", [None, "a=b", [("a", "b")], 3, {"a"}], ids=shown)
def test_static_labels_must_be_a_mapping(value: object) -> None:
    """Pairs are not enough."""
    with refused("static_labels", value, "a mapping"):
        make(static_labels=value)


@pytest.mark.parametrize("name", ["", 3, None, ("a",)], ids=shown)
def test_a_static_label_must_have_a_name(name: object) -> None:
    """The message shows the bad one."""
    with refused("static_labels", name, "non-empty str names"):
        make(static_labels={"good": "value", name: "value"})


# Deviation reported: the error comes only when the collector opens, and is the value's own.
def test_a_static_label_without_text_is_refused_when_the_configuration_is_made() -> None:
    """Every event would have it, so nothing could be sent."""
    with pytest.raises(ConfigError, match="static_labels"):
        make(static_labels={"bad": Unprintable()})


def test_a_static_labels_text_is_its_text_when_the_configuration_is_made() -> None:
    """A value that can change later is kept as its text, and any other value as it is."""
    changing, names = Changing(), ["a"]
    config = make(static_labels={"object": changing, "list": names, "flag": True, "status": HTTPStatus.OK})
    changing.now = "late"
    names.append("b")
    assert config.static_labels == {"object": "early", "list": "['a']", "flag": True, "status": HTTPStatus.OK}


def test_half_a_surrogate_pair_in_a_name_becomes_text() -> None:
    """No encoding can carry the half, so every sink would lose every event."""
    config = make(static_labels={"zone\ud800": "eu"}, bounds={"jobs\udfff": [1]})
    assert (config.static_labels, config.bounds) == ({"zone\ufffd": "eu"}, {"jobs\ufffd": (1.0,)})


@pytest.mark.parametrize("field", ["static_labels", "bounds"])
def test_a_mapping_that_cannot_be_read_is_named(field: str) -> None:
    """The error names the setting, and its cause is the mapping's exception."""
    with pytest.raises(
        ConfigError, match=f"^{field} must be a mapping .* \\(RaisingMapping raised .*unreadable"
    ) as caught:
        make(**{field: RaisingMapping()})
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize("field", [field for field in FIELDS if field not in ("static_labels", "bounds")])
def test_a_value_that_cannot_be_printed_is_refused_by_its_type(field: str) -> None:
    """The error is about the setting, not about printing."""
    with pytest.raises(ConfigError, match=f"^{field} must be .* \\(got Unprintable\\)$"):
        make(**{field: Unprintable()})


def test_a_configurations_mappings_are_read_only() -> None:
    """Frozen includes the mappings, and the configuration pickles, copies and compares as before."""
    config = make(static_labels={"a": "b"}, bounds={"h": [1]})
    for mapping in (config.static_labels, config.bounds, BatchMetricsConfig().static_labels):
        changeable: Any = mapping
        with pytest.raises(TypeError, match="read-only"):
            changeable["new"] = 1
    for again in (pickle.loads(pickle.dumps(config)), copy.deepcopy(config), attrs.evolve(config)):
        assert again == config
        labels: Any = again.static_labels
        with pytest.raises(TypeError, match="read-only"):
            labels.clear()


# -- bounds


RISING = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, unique=True).map(sorted)


@given(bounds=RISING)
def test_any_rising_finite_numbers_are_accepted_as_bounds(bounds: list[float]) -> None:
    """They become a tuple of floats."""
    assert make(bounds={"response_time": bounds}).bounds == {"response_time": tuple(bounds)}


@given(bounds=st.lists(st.floats() | st.integers(-3, 3), max_size=6))
def test_bounds_are_accepted_if_and_only_if_they_are_finite_and_rise(bounds: list[float]) -> None:
    """Empty ones are refused, too."""
    fine = bool(bounds) and all(map(math.isfinite, bounds)) and all(low < high for low, high in pairwise(bounds))
    if fine:
        assert make(bounds={"name": bounds}).bounds["name"] == tuple(bounds)
    else:
        with pytest.raises(ConfigError, match=r"^bounds\['name'\] must be finite numbers, strictly increasing"):
            make(bounds={"name": bounds})


def test_ints_are_accepted_as_bounds_and_become_floats() -> None:
    """Generators are accepted, too, and read once."""
    bounds = make(bounds={"a": [1, 2, 5], "b": (n / 2 for n in range(3))}).bounds
    assert bounds == {"a": (1.0, 2.0, 5.0), "b": (0.0, 0.5, 1.0)}
    assert [type(bound) for bound in bounds["a"]] == [float] * 3


@pytest.mark.parametrize("value", [[True, 2], ["1"], [None], "123", b"123", 5, None, [math.nan]], ids=str)
def test_bounds_that_are_not_numbers_are_refused(value: object) -> None:
    """The message names the instrument."""
    with pytest.raises(ConfigError, match=r"^bounds\['slow'\] must be finite numbers, strictly increasing"):
        make(bounds={"fast": [1.0], "slow": value})


# Deviation reported: an OverflowError, which isn't a ValueError.
def test_an_int_that_no_float_can_hold_is_refused_as_a_bound() -> None:
    """Bounds become floats."""
    with refused("bounds['slow']", HUGE, "finite numbers"):
        make(bounds={"fast": [1.0], "slow": [1, HUGE]})


# Deviation reported: accepted, though the two bounds are the same.
def test_bounds_must_rise_as_the_floats_that_they_become() -> None:
    """Two neighbouring ints may be the same float."""
    with refused("bounds['name']", 2**53 + 1, "strictly increasing"):
        make(bounds={"name": [2**53, 2**53 + 1]})


@pytest.mark.parametrize("value", [None, [1.0, 2.0], "a=1", 3], ids=str)
def test_bounds_must_be_a_mapping(value: object) -> None:
    """Bounds without an instrument have no meaning."""
    with refused("bounds", value, "a mapping of instrument names"):
        make(bounds=value)


@pytest.mark.parametrize("name", ["", 3, None], ids=shown)
def test_bounds_must_be_for_a_named_instrument(name: object) -> None:
    """The message shows the bad name."""
    with refused("bounds", name, "a mapping of instrument names"):
        make(bounds={name: [1.0]})


def test_bounds_are_captured_by_value() -> None:
    """Later changes to the caller's lists have no effect."""
    given_bounds = {"a": [1.0, 2.0]}
    config = make(bounds=given_bounds)
    given_bounds["a"].append(0.0)
    given_bounds["b"] = [3.0]
    assert config.bounds == {"a": (1.0, 2.0)}


# -- the environment


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Remove every variable of the library's from the environment."""
    for field in FIELDS:
        monkeypatch.delenv(f"TRIO_BATCHMETRICS_{field.upper()}", raising=False)
    return monkeypatch


def test_without_variables_the_environment_gives_the_defaults(env: pytest.MonkeyPatch) -> None:
    """Variables with a merely similar name are ignored."""
    env.setenv("TRIO_BATCHMETRIC_BATCH_SIZE", "3")
    env.setenv("BATCH_SIZE", "3")
    env.setenv("trio_batchmetrics_batch_size", "3")
    assert BatchMetricsConfig.from_env() == BatchMetricsConfig()


def test_every_field_can_come_from_the_environment(env: pytest.MonkeyPatch) -> None:
    """Each variable is the field's name in capitals."""
    texts = {
        "batch_size": "200",
        "flush_interval": "2.5",
        "buffer_size": " 5000 ",
        "enable_compression": "true",
        "shutdown_timeout": "0",
        "on_full": "drop_oldest",
        "max_series": "7",
        "max_instruments": "70",
        "static_labels": "service.name=gateway, instance = a=b:1,",
        "bounds": "response_time=1:2:5,size=0.5",
        "enabled": "no",
    }
    assert list(texts) == FIELDS
    for field, text in texts.items():
        env.setenv(f"TRIO_BATCHMETRICS_{field.upper()}", text)
    assert BatchMetricsConfig.from_env() == BatchMetricsConfig(
        batch_size=200,
        flush_interval=2.5,
        buffer_size=5000,
        enable_compression=True,
        shutdown_timeout=0.0,
        on_full="drop_oldest",
        max_series=7,
        max_instruments=70,
        static_labels={"service.name": "gateway", "instance": "a=b:1"},
        bounds={"response_time": (1.0, 2.0, 5.0), "size": (0.5,)},
        enabled=False,
    )


def test_the_prefix_can_be_chosen(env: pytest.MonkeyPatch) -> None:
    """The default prefix is then ignored."""
    env.setenv("TRIO_BATCHMETRICS_BATCH_SIZE", "3")
    env.setenv("GATEWAY_BATCH_SIZE", "4")
    assert BatchMetricsConfig.from_env("GATEWAY_").batch_size == 4
    assert BatchMetricsConfig.from_env(prefix="OTHER_").batch_size == 100


def test_unknown_variables_are_an_error_that_lists_the_known_ones(env: pytest.MonkeyPatch) -> None:
    """A typing error must not go unnoticed, so the message names every unknown variable."""
    env.setenv("TRIO_BATCHMETRICS_BATCHSIZE", "3")
    env.setenv("TRIO_BATCHMETRICS_FLUSH", "3")
    env.setenv("TRIO_BATCHMETRICS_BATCH_SIZE", "3")
    with pytest.raises(ConfigError, match="TRIO_BATCHMETRICS_BATCHSIZE, TRIO_BATCHMETRICS_FLUSH") as caught:
        BatchMetricsConfig.from_env()
    for field in FIELDS:
        assert f"TRIO_BATCHMETRICS_{field.upper()}" in str(caught.value)


def test_a_variable_overrides_the_applications_own_default(env: pytest.MonkeyPatch) -> None:
    """Fields without either keep the library's default."""
    env.setenv("TRIO_BATCHMETRICS_BATCH_SIZE", "7")
    config = BatchMetricsConfig.from_env(batch_size=3, flush_interval=timedelta(seconds=1), static_labels={"a": "b"})
    assert config == BatchMetricsConfig(batch_size=7, flush_interval=1.0, static_labels={"a": "b"})


def test_the_applications_defaults_are_validated_by_the_same_rules(env: pytest.MonkeyPatch) -> None:
    """The message names the field; an unknown field is the programmer's mistake."""
    with refused("flush_interval", 0, "> 0"):
        BatchMetricsConfig.from_env(flush_interval=0)
    with pytest.raises(TypeError, match="batchsize"):
        BatchMetricsConfig.from_env(batchsize=3)


def test_the_variable_that_names_the_sinks_is_known(env: pytest.MonkeyPatch) -> None:
    """Another module reads it, so its value is never an error here."""
    env.setenv("TRIO_BATCHMETRICS_SINKS", "sqlite:metrics.sqlite3 prometheus:")
    assert BatchMetricsConfig.from_env() == BatchMetricsConfig()
    env.setenv("TRIO_BATCHMETRICS_SINK", "x")
    with pytest.raises(ConfigError, match=r"unknown: TRIO_BATCHMETRICS_SINK\. Known: .*TRIO_BATCHMETRICS_SINKS$"):
        BatchMetricsConfig.from_env()


@pytest.mark.parametrize(
    "name",
    [
        "SERVICE_HOST",
        "SERVICE_PORT",
        "SERVICE_PORT_HTTP",
        "PORT",
        "PORT_8080_TCP",
        "PORT_8080_TCP_PROTO",
        "PORT_8080_TCP_PORT",
        "PORT_8080_TCP_ADDR",
        "WEB_SERVICE_HOST",
        "WEB_PORT_53_UDP_ADDR",
    ],
)
def test_variables_that_kubernetes_sets_raise_an_error_with_a_way_out(env: pytest.MonkeyPatch, name: str) -> None:
    """A service named `trio-batchmetrics` fills the environment of its pods with them."""
    env.setenv(f"TRIO_BATCHMETRICS_{name}", "tcp://10.0.0.11:8080")
    words = f"unknown: TRIO_BATCHMETRICS_{name}. Known: .*enableServiceLinks: false.* or choose another prefix"
    with pytest.raises(ConfigError, match=words):
        BatchMetricsConfig.from_env()


@pytest.mark.parametrize("name", ["REPORT", "BATCH_SIZES", "PORTS", "SERVICE"])
def test_other_unknown_variables_are_not_blamed_on_kubernetes(env: pytest.MonkeyPatch, name: str) -> None:
    """A typing error is just that."""
    env.setenv(f"TRIO_BATCHMETRICS_{name}", "1")
    with pytest.raises(ConfigError, match="unknown") as caught:
        BatchMetricsConfig.from_env()
    assert "ubernetes" not in str(caught.value)


@pytest.mark.parametrize("prefix", ["", None, 3], ids=shown)
def test_the_prefix_must_be_a_non_empty_string(prefix: Any) -> None:
    """With an empty prefix, every variable of the process would be unknown."""
    with refused("prefix", prefix, "non-empty str"):
        BatchMetricsConfig.from_env(prefix)


@pytest.mark.parametrize(
    ("field", "text", "message"),
    [
        ("bounds", "h=", "TRIO_BATCHMETRICS_BOUNDS must be numbers by instrument, written name=1:2:5 .* (got 'h=')"),
        ("bounds", "h=1:x", "TRIO_BATCHMETRICS_BOUNDS must be numbers by instrument, .* (got 'h=1:x')"),
        ("bounds", "h", "TRIO_BATCHMETRICS_BOUNDS must be numbers by instrument, .* (got 'h')"),
        ("bounds", "h=2:1", "TRIO_BATCHMETRICS_BOUNDS['h'] must be finite numbers, strictly increasing, .* (got 1.0)"),
        ("static_labels", "a", "TRIO_BATCHMETRICS_STATIC_LABELS must be name=value pairs .* (got 'a')"),
        (
            "flush_interval",
            "0",
            "TRIO_BATCHMETRICS_FLUSH_INTERVAL must be a finite number of seconds > 0, .* (got 0.0)",
        ),
        ("flush_interval", "5s", "TRIO_BATCHMETRICS_FLUSH_INTERVAL must be a number of seconds (got '5s')"),
        ("enabled", "maybe", "TRIO_BATCHMETRICS_ENABLED must be true or false (got 'maybe')"),
        ("batch_size", "0", "TRIO_BATCHMETRICS_BATCH_SIZE must be an int >= 1 (got 0)"),
        ("on_full", "block", "TRIO_BATCHMETRICS_ON_FULL must be 'drop_newest' or 'drop_oldest' (got 'block')"),
    ],
)
def test_an_error_names_the_variable_the_rule_and_the_value(
    env: pytest.MonkeyPatch, field: str, text: str, message: str
) -> None:
    """The whole message is compared."""
    env.setenv(f"TRIO_BATCHMETRICS_{field.upper()}", text)
    with pytest.raises(ConfigError, match="^" + re.escape(message).replace(re.escape(".*"), ".*") + "$"):
        BatchMetricsConfig.from_env()


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("batch_size", "many"),
        ("batch_size", "1.5"),
        ("batch_size", ""),
        ("flush_interval", "5 s"),
        ("shutdown_timeout", ""),
        ("enable_compression", "maybe"),
        ("enabled", ""),
        ("static_labels", "a=b,c"),
        ("static_labels", "=b"),
        ("bounds", "name"),
        ("bounds", "name=1:x"),
        ("bounds", "name="),
    ],
)
def test_an_unreadable_value_is_named_with_its_variable(env: pytest.MonkeyPatch, field: str, text: str) -> None:
    """The name shows where the value was set."""
    env.setenv(f"TRIO_BATCHMETRICS_{field.upper()}", text)
    with pytest.raises(ConfigError, match=f"^TRIO_BATCHMETRICS_{field.upper()} must be .* \\(got '.*'\\)$"):
        BatchMetricsConfig.from_env()


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("batch_size", "0"),
        ("buffer_size", "-1"),
        ("max_series", "0"),
        ("max_instruments", "0"),
        ("flush_interval", "0"),
        ("flush_interval", "nan"),
        ("shutdown_timeout", "inf"),
        ("shutdown_timeout", "-1"),
        ("on_full", "block"),
        ("bounds", "name=2:1"),
        ("bounds", "name=nan"),
    ],
)
def test_values_from_the_environment_are_validated_by_the_same_rules(
    env: pytest.MonkeyPatch, field: str, text: str
) -> None:
    """The message names the variable."""
    env.setenv(f"TRIO_BATCHMETRICS_{field.upper()}", text)
    with pytest.raises(ConfigError, match=f"^TRIO_BATCHMETRICS_{field.upper()}.* must be .* \\(got .*\\)$"):
        BatchMetricsConfig.from_env()


@pytest.mark.parametrize("text", ["1", "true", "TRUE", "Yes", "on"])
def test_a_flag_can_be_switched_on_in_words(env: pytest.MonkeyPatch, text: str) -> None:
    """Upper and lower case are accepted."""
    env.setenv("TRIO_BATCHMETRICS_ENABLE_COMPRESSION", text)
    assert BatchMetricsConfig.from_env().enable_compression is True


@pytest.mark.parametrize("text", ["0", "false", "FALSE", "No", "off"])
def test_a_flag_can_be_switched_off_in_words(env: pytest.MonkeyPatch, text: str) -> None:
    """Upper and lower case are accepted."""
    env.setenv("TRIO_BATCHMETRICS_ENABLED", text)
    assert BatchMetricsConfig.from_env().enabled is False


# -- where it is used


@pytest.mark.parametrize("config", [{"batch_size": 3}, 3, BatchMetricsConfig], ids=["dict", "int", "class"])
def test_a_collector_takes_nothing_else_as_its_configuration(config: Any) -> None:
    """The error comes at the call, not when the block is entered."""
    with pytest.raises(TypeError, match="config must be a BatchMetricsConfig"):
        collector(config)
