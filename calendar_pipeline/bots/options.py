"""What a bot can be told beside where and when: the settings objects of the API, as closed JSON schemas. Pure.

The runner reads them; here they are only held to their shape, so that a misspelt key is refused when the bot is made
and not found out in the meeting. Refusals are worded as jsonschema words them: existing clients know them so.
"""

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.validators import extend

Json = dict[str, Any]

TRIGGERS: Final = (
    "bot.state_change",
    "transcript.update",
    "chat_messages.update",
    "participant_events.join_leave",
    "calendar.events_update",
    "calendar.state_change",
    "async_transcription.state_change",
    "zoom_oauth_connection.state_change",
    "bot_logs.update",
    "participant_events.speech_start_stop",
)

MOST_WEBHOOKS: Final = 2

MOST_VALUES: Final = 10_000
"""In one settings object, at any depth: more than anybody needs, and looked at within a second."""

ZOOM_CAPTION_LANGUAGES: Final = (
    "Arabic",
    "Cantonese",
    "Chinese (Simplified)",
    "Czech",
    "Danish",
    "Dutch",
    "English",
    "Estonian",
    "Finnish",
    "French",
    "French (Canada)",
    "German",
    "Hebrew",
    "Hindi",
    "Hungarian",
    "Indonesian",
    "Italian",
    "Japanese",
    "Korean",
    "Malay",
    "Persian",
    "Polish",
    "Portuguese",
    "Romanian",
    "Russian",
    "Spanish",
    "Swedish",
    "Tagalog",
    "Tamil",
    "Telugu",
    "Thai",
    "Turkish",
    "Ukrainian",
    "Vietnamese",
)

SARVAM_LANGUAGES: Final = (
    "unknown",
    *(f"{language}-IN" for language in ("hi", "bn", "kn", "ml", "mr", "od", "pa", "ta", "te", "en", "gu")),
)

TEXT: Final[Json] = {"type": "string"}
FLAG: Final[Json] = {"type": "boolean"}
NUMBER: Final[Json] = {"type": "integer"}
SECONDS: Final[Json] = {"type": "integer"}
SECONDS_OR_NEVER: Final[Json] = {"type": ["integer", "null"]}
TEXTS: Final[Json] = {"type": "array", "items": TEXT}


def one_of(*values: object) -> Json:
    """One of these values."""
    return {"type": "integer" if isinstance(values[0], int) else "string", "enum": list(values)}


def opened(properties: Mapping[str, Json], *required: str) -> Json:
    """An object of these keys, which may have others: the runner knows more."""
    return {"type": "object", "properties": dict(properties), "required": list(required)}


def closed(properties: Mapping[str, Json], *required: str) -> Json:
    """An object of these keys and no others."""
    return opened(properties, *required) | {"additionalProperties": False}


_LOGIN: Final = closed({"use_login": FLAG, "login_mode": one_of("always", "only_if_required")})

_SERVER_VAD: Final = closed(
    {
        "type": one_of("server_vad"),
        "prefix_padding_ms": NUMBER,
        "silence_duration_ms": NUMBER,
        "threshold": {"type": "number"},
    },
    "type",
)

_TRANSCRIPTION: Final = opened(
    {
        "deepgram": closed(
            {
                "language": TEXT,
                "detect_language": FLAG,
                "callback": TEXT,
                "keyterms": TEXTS,
                "keywords": TEXTS,
                "model": TEXT,
                "redact": {"type": "array", "items": one_of("pci", "pii", "numbers"), "uniqueItems": True},
                "replace": TEXTS,
            }
        ),
        "gladia": closed({"code_switching_languages": TEXTS, "enable_code_switching": FLAG}),
        "meeting_closed_captions": closed(
            {
                "google_meet_language": TEXT,
                "teams_language": TEXT,
                "zoom_language": one_of(*ZOOM_CAPTION_LANGUAGES),
                "merge_consecutive_captions": FLAG,
            }
        ),
        "openai": closed(
            {
                "model": one_of("gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-4o-transcribe-diarize"),
                "prompt": TEXT,
                "language": TEXT,
                "response_format": one_of("json", "diarized_json"),
                "chunking_strategy": {"oneOf": [one_of("auto"), _SERVER_VAD]},
            },
            "model",
        ),
        "assembly_ai": closed(
            {
                "language_code": TEXT,
                "language_detection": FLAG,
                "keyterms_prompt": TEXTS,
                "speech_model": one_of("best", "nano", "slam-1", "universal"),
                "speaker_labels": FLAG,
                "use_eu_server": FLAG,
                "language_detection_options": closed({"expected_languages": TEXTS, "fallback_language": TEXT}),
            }
        ),
        "sarvam": closed({"model": one_of("saarika:v2", "saarika:v2.5"), "language_code": one_of(*SARVAM_LANGUAGES)}),
        "elevenlabs": closed(
            {
                "model_id": one_of("scribe_v1", "scribe_v1_experimental"),
                "language_code": TEXT,
                "tag_audio_events": FLAG,
            },
            "model_id",
        ),
        "kyutai": closed({"server_url": TEXT}),
        "custom_async": {"type": "object"},
    }
)

_RECORDING: Final = closed(
    {
        "format": TEXT,
        "view": TEXT,
        "resolution": one_of("1080p", "720p"),
        "record_chat_messages_when_paused": FLAG,
        "record_async_transcription_audio_chunks": FLAG,
        "reserve_additional_storage": FLAG,
    }
)

WEBHOOKS: Final[Json] = {
    "type": "array",
    "items": closed(
        {
            "url": {"type": "string", "pattern": "^https://.*"},
            "triggers": {"type": "array", "items": one_of(*TRIGGERS), "minItems": 1, "uniqueItems": True},
        },
        "url",
        "triggers",
    ),
}

SCHEMAS: Final[Mapping[str, Json]] = {
    "automatic_leave_settings": closed(
        {
            "silence_timeout_seconds": SECONDS,
            "silence_activate_after_seconds": SECONDS,
            "only_participant_in_meeting_timeout_seconds": SECONDS,
            "wait_for_host_to_start_meeting_timeout_seconds": SECONDS,
            "waiting_room_timeout_seconds": SECONDS,
            "max_uptime_seconds": SECONDS_OR_NEVER,
            "enable_closed_captions_timeout_seconds": SECONDS_OR_NEVER,
            "authorized_user_not_in_meeting_timeout_seconds": SECONDS,
            "bot_keywords": {"type": ["array", "null"], "items": TEXT},
        }
    ),
    "bot_chat_message": closed(
        {
            "to": one_of("everyone", "specific_user", "everyone_but_host"),
            "to_user_uuid": {"type": ["string", "null"]},
            "message": {"type": "string", "minLength": 1},
        },
        "message",
    ),
    "bot_image": closed({"type": one_of("image/png"), "data": TEXT}, "type", "data"),
    "callback_settings": closed({"zoom_tokens_url": TEXT}),
    "debug_settings": opened({"create_debug_recording": FLAG}),
    "external_media_storage_settings": closed({"bucket_name": TEXT, "recording_file_name": TEXT}, "bucket_name"),
    "google_meet_settings": _LOGIN,
    "kubernetes_settings": {"type": "object"},
    "recording_settings": _RECORDING,
    "rtmp_settings": opened({"destination_url": TEXT, "stream_key": TEXT}, "destination_url", "stream_key"),
    "teams_settings": _LOGIN,
    "transcription_settings": _TRANSCRIPTION,
    "voice_agent_settings": closed({"url": TEXT, "screenshare_url": TEXT, "reserve_resources": FLAG}),
    "websocket_settings": closed({"audio": closed({"url": TEXT, "sample_rate": one_of(8000, 16000, 24000)}, "url")}),
    "zoom_settings": closed(
        {
            "sdk": one_of("web", "native"),
            "meeting_settings": closed(
                dict.fromkeys(
                    (
                        "allow_participants_to_unmute_self",
                        "allow_participants_to_share_whiteboard",
                        "allow_participants_to_request_cloud_recording",
                        "allow_participants_to_request_local_recording",
                        "allow_participants_to_share_screen",
                        "allow_participants_to_chat",
                        "enable_focus_mode",
                    ),
                    FLAG,
                )
            ),
        }
    ),
}


def _unique(_validator: object, wanted: object, items: object, _schema: object) -> Iterator[ValidationError]:
    """``uniqueItems`` in one pass: jsonschema compares each with each where numbers and texts are mixed."""
    if wanted and isinstance(items, list):
        seen = {json.dumps(item, sort_keys=True) for item in cast(list[object], items)}
        if len(seen) < len(cast(list[object], items)):
            yield ValidationError(f"{items!r} has non-unique elements")


_Validator: Final[Any] = extend(Draft202012Validator, {"uniqueItems": _unique})
_VALIDATORS: Final = {name: _Validator(schema) for name, schema in {**SCHEMAS, "webhooks": WEBHOOKS}.items()}


def misshapen(name: str, value: object) -> str | None:
    """Why `value` is not what the settings object `name` may be; None if it is."""
    if _count(value) > MOST_VALUES:
        return f"Ensure this field has no more than {MOST_VALUES} values."
    worst = best_match(_VALIDATORS[name].iter_errors(cast(Any, value)))
    return None if worst is None else str(worst.message)


def _count(value: object) -> int:
    """How many values there are in `value`, itself included."""
    match value:
        case dict():
            return 1 + sum(map(_count, cast(dict[str, object], value).values()))
        case list():
            return 1 + sum(map(_count, cast(list[object], value)))
        case _:
            return 1


def mistaken(name: str, value: Mapping[str, Any]) -> Mapping[str, object]:
    """What is wrong inside a settings object of the right shape: key → message, empty if all is well."""
    check = _RULES.get(name)
    return {} if check is None else check(value)


def _recording(value: Mapping[str, Any]) -> Mapping[str, object]:
    if value.get("format", "mp4") not in ("mp4", "mp3", "none"):
        return {"format": "Format must be mp4 or mp3 or 'none'"}
    if value.get("view", "speaker_view") not in ("speaker_view", "gallery_view", "speaker_view_no_sidebar"):
        return {"view": "View must be speaker_view or gallery_view or speaker_view_no_sidebar"}
    return {}


def _rtmp(value: Mapping[str, Any]) -> Mapping[str, object]:
    if not str(value["destination_url"]).lower().startswith(("rtmp://", "rtmps://")):
        return {"destination_url": "URL must start with rtmp:// or rtmps://"}
    if not value["stream_key"]:
        return {"stream_key": "Stream key must not be empty"}
    return {}


def _websocket(value: Mapping[str, Any]) -> Mapping[str, object]:
    if "audio" in value and not str(value["audio"]["url"]).lower().startswith("wss://"):
        return {"audio": {"url": "URL must start with wss://"}}
    return {}


def _voice_agent(value: Mapping[str, Any]) -> Mapping[str, object]:
    if value.get("url") and value.get("screenshare_url"):
        return {"screenshare_url": "Only one of url and screenshare_url can be given"}
    return {
        name: "URL must start with https://"
        for name in ("url", "screenshare_url")
        if value.get(name) and not str(value[name]).lower().startswith("https://")
    }


def _callback(value: Mapping[str, Any]) -> Mapping[str, object]:
    if "zoom_tokens_url" in value and not str(value["zoom_tokens_url"]).lower().startswith("https://"):
        return {"zoom_tokens_url": "URL must start with https://"}
    return {}


def _kyutai(value: Mapping[str, Any]) -> Mapping[str, object]:
    kyutai = cast(Mapping[str, Any], value.get("kyutai", {}))
    if "server_url" in kyutai and not str(kyutai["server_url"]).lower().startswith(("ws://", "wss://")):
        return {"kyutai": {"server_url": "URL must start with ws:// or wss://"}}
    return {}


def _chat_message(value: Mapping[str, Any]) -> Mapping[str, object]:
    if value.get("to") == "specific_user" and not value.get("to_user_uuid"):
        return {"to_user_uuid": "This field is required when sending to a specific user."}
    return {}


def _image(value: Mapping[str, Any]) -> Mapping[str, object]:
    try:
        data = base64.b64decode(str(value["data"]), validate=True)
    except (binascii.Error, ValueError):
        return {"data": "Invalid base64-encoded data"}
    return {} if data.startswith(b"\x89PNG\r\n\x1a\n") else {"data": "Data is not a PNG image"}


_RULES: Final[Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, object]]]] = {
    "bot_chat_message": _chat_message,
    "bot_image": _image,
    "callback_settings": _callback,
    "recording_settings": _recording,
    "rtmp_settings": _rtmp,
    "transcription_settings": _kyutai,
    "voice_agent_settings": _voice_agent,
    "websocket_settings": _websocket,
}
