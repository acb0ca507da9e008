"""Served model: engine, chat template, names, and how it is presented."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from shared.chat.answer_format import AnswerFormat
from shared.chat.control_tokens import ControlTokens, Prompt
from shared.chat.template import CHATML, ChatTemplate, TemplateError
from shared.config.request_defaults import RequestDefaults
from shared.config.settings import Settings
from shared.config.warm_prefix import warm_messages
from shared.engine.config import EngineConfig
from shared.engine.engine import Engine
from shared.engine.llama.control_tokens import control_tokens, tokenize_parts
from shared.engine.llama.model import Model
from shared.engine.llama.version import LLAMA_CPP_VERSION
from shared.engine.prefixes.cache import PrefixOptions
from shared.engine.types import EngineError
from shared.models.files import ModelFiles
from shared.models.identity import files_identity
from shared.models.sources import ModelSourceError
from shared.protocol.responses import ModelCard
from shared.runtime.draft_model import load_draft_model, speculation_options
from shared.storage.prefixes.location import open_prefix_store

if TYPE_CHECKING:
    from shared.engine.grammar.compiler import ConstraintCompiler

_log = logging.getLogger("pilotlight.models")


class ServedModel:
    """One loaded model with its engine running."""

    def __init__(
        self,
        settings: Settings,
        files: ModelFiles,
        model: Model,
        draft_files: ModelFiles | None = None,
        on_progress: Callable[[float], None] = lambda _: None,
    ) -> None:
        """Start an engine for ``model``, which was loaded from ``files`` and is closed with this.

        ``draft_files``: of the draft model, if there is one, which is loaded here;
        ``on_progress`` receives the fraction of it that is. Raises
        `ModelSourceError`, `shared.config.settings_file.ConfigurationError` and
        `shared.engine.llama.errors.LlamaError`, after closing ``model``.
        """
        self.names = settings.served_names
        self.defaults = RequestDefaults(settings)
        """What holds for the fields that a request leaves out."""
        self._freed = ExitStack()
        self.model = model
        with ExitStack() as freed:
            freed.callback(model.close)
            prefixes = _prefix_options(settings, files)
            draft_model: Model | None = None
            if draft_files is not None:
                draft_model = load_draft_model(settings, draft_files, self.model, on_progress)
                freed.callback(draft_model.close)
            self.engine = Engine(
                self.model,
                EngineConfig(
                    n_ctx=settings.ctx_size,
                    n_parallel=settings.parallel,
                    n_batch=settings.batch_size,
                    n_ubatch=settings.ubatch_size,
                    n_threads=settings.threads,
                    max_queue=settings.max_queue,
                    kv_unified=settings.kv_unified,
                    flash_attn=settings.flash_attn,
                    cache_type_k=settings.cache_type_k,
                    cache_type_v=settings.cache_type_v,
                    kv_offload=settings.kv_offload,
                    speculation=speculation_options(settings),
                    context_shift=settings.context_shift,
                ),
                prefixes,
                draft_model,
            )
            freed.callback(self.engine.stop)
            self.control_tokens = ControlTokens(
                {} if settings.parse_special_in_content else control_tokens(self.model)
            )
            self._bos = self._control_text(self.model.bos)
            self.template = self._template(settings)
            self.answers = AnswerFormat(self.template.source, self._control_token)
            self._constraints: ConstraintCompiler | None = None
            self._constraints_lock = threading.Lock()
            self.created = int(self.model.modified)
            self.fingerprint = self._fingerprint()
            self.max_tokens = self.engine.window.limit(settings.n_predict)
            """Completion tokens that one choice may have."""
            self.engine.start()
            for file in settings.warm_prefix:
                self._warm(file)
            self._freed = freed.pop_all()

    @property
    def name(self) -> str:
        """The name that responses carry."""
        return self.names[0]

    def close(self) -> None:
        """Stop the engine and free the memory."""
        self._freed.close()

    def chat_prompt(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None,
        add_generation_prompt: bool,
        continue_final_message: bool,
        variables: Mapping[str, Any],
    ) -> Prompt:
        """Messages as the text that the model was trained on; raises `TemplateError`."""
        rendered = self.template.render(
            messages,
            tools=tools,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=continue_final_message,
            variables=variables,
        )
        # The tokenizer adds the BOS token; a template that writes it too would double it.
        if self._bos and self.model.adds_bos:
            rendered = str.removeprefix(rendered, self._bos)
        return self.control_tokens.prompt(rendered)

    def prompt_tokens(self, prompt: Prompt) -> list[int]:
        """The tokens of what `chat_prompt` gave; thread-safe, as `Model.tokenize`."""
        if prompt.parts is None:
            return self.model.tokenize(prompt.text)
        return tokenize_parts(self.model, prompt.parts)

    def constraints(self) -> ConstraintCompiler:
        """The compiler of grammars, made at the first call; not for the event loop.

        Most servers start to answer something else first: llguidance is imported here.
        """
        from shared.engine.grammar.compiler import ConstraintCompiler

        with self._constraints_lock:
            if self._constraints is None:
                self._constraints = ConstraintCompiler(self.model)
            return self._constraints

    def card(self) -> ModelCard:
        """The entry in ``GET /v1/models``."""
        return ModelCard(
            id=self.name,
            created=self.created,
            meta={
                "description": self.model.description,
                "n_params": self.model.n_params,
                "size": self.model.size,
                "n_vocab": self.model.n_vocab,
                "n_ctx": self.engine.n_ctx,
                "n_ctx_train": self.model.n_ctx_train,
                "aliases": list(self.names[1:]),
            },
        )

    def _template(self, settings: Settings) -> ChatTemplate:
        source = self.model.chat_template or CHATML
        if settings.chat_template_file is not None:
            try:
                source = settings.chat_template_file.read_text(encoding="utf-8")
            except OSError as error:
                raise ModelSourceError(f"can't read the chat template: {error}") from error
        try:
            return ChatTemplate(
                source,
                bos_token=self._bos,
                eos_token=self._control_text(self.model.eos),
                control_tokens=self.control_tokens.ids,
            )
        except TemplateError as error:
            raise ModelSourceError(str(error)) from error

    def _warm(self, file: str) -> None:
        """Evaluate what prompts begin with; raises `ModelSourceError`, which names the file."""
        started = time.monotonic()
        try:
            prompt = self.chat_prompt(
                warm_messages(file),
                tools=None,
                add_generation_prompt=False,
                continue_final_message=False,
                variables={},
            )
            tokens = self.prompt_tokens(prompt)
            self.engine.warm(tokens)
        except (TemplateError, EngineError, ValueError, OSError) as error:
            raise ModelSourceError(f"can't use the warm prefix {file}: {error}") from error
        seconds = time.monotonic() - started
        _log.info("%d tokens of %s are evaluated, in %.2f s", len(tokens), file, seconds)

    def _control_text(self, token: int) -> str:
        return (
            self.model.render(token, special=True).decode("utf-8", "replace") if token >= 0 else ""
        )

    def _control_token(self, text: str) -> int | None:
        """The id of the control token that reads ``text``."""
        tokens = self.model.tokenize(text, add_special=False)
        is_control = len(tokens) == 1 and self.model.is_control(tokens[0])
        return tokens[0] if is_control else None

    def _fingerprint(self) -> str:
        """Changes with the model, the engine's version and the settings that steer arithmetic."""
        parts = (
            self.model.size,
            sorted(self.model.metadata().items()),
            LLAMA_CPP_VERSION,
            self.engine.config,
            self.engine.n_threads,
        )
        return "fp_" + hashlib.blake2b(repr(parts).encode(), digest_size=6).hexdigest()


def _prefix_options(settings: Settings, files: ModelFiles) -> PrefixOptions | None:
    """Where prefixes are kept, if anywhere; raises `ModelSourceError`."""
    if not (settings.prefix_memory or settings.prefix_store or settings.warm_prefix):
        return None
    try:
        model = files_identity(files.paths)
    except OSError as error:
        raise ModelSourceError(f"can't read {settings.model}: {error.strerror}") from error
    max_age = settings.prefix_store_hours * 3600
    store = None
    if settings.prefix_store:
        store = open_prefix_store(
            settings.prefix_store, budget=settings.prefix_store_size, max_age=max_age
        )
    return PrefixOptions(
        model=model,
        memory=settings.prefix_memory,
        store=store,
        max_age=max_age,
        timeout=settings.prefix_timeout,
    )
