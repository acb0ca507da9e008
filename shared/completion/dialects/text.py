"""OpenAI's dialect of text completions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from shared.completion.dialect import Dialect
from shared.completion.field_rules import check_prompt_size, check_text_fields
from shared.completion.tokens import check_token_ids, run_tokenizing
from shared.completion.validation import check_sequences
from shared.engine.types import GenerationRequest
from shared.protocol.choices import Choice, best, usages
from shared.protocol.errors import invalid
from shared.protocol.logprobs import TokenTexts
from shared.protocol.openai.completions import DEFAULT_MAX_TOKENS, CompletionRequest
from shared.protocol.openai.completions_format import TextStream, text_body
from shared.protocol.openai.echo import Echo
from shared.protocol.unsupported_fields import refuse
from shared.protocol.usage import usage_fields
from shared.runtime.served_model import ServedModel


class TextDialect(Dialect[CompletionRequest]):
    """``POST /v1/completions``."""

    id_prefix = "cmpl"
    prompt_field = "prompt"
    operation = "text_completion"
    kind = "text"

    _prompts: Sequence[Echo] = ()

    async def engine_requests(self) -> list[GenerationRequest]:
        """One request for each prompt; raises `APIError` 400."""
        asked, run = self.asked, self.context.run
        check_text_fields(asked)
        self._prompts = await run_tokenizing(self._read_prompts, asked.prompts)
        check_sequences(len(self._prompts), asked.n_generated, self.count_field)
        continued: list[Sequence[int]] = [prompt.tokens for prompt in self._prompts]
        if (suffix := asked.suffix) is not None:
            continued = await run_tokenizing(partial(self._filled_in, suffix), lambda: [suffix])
        n, n_generated = asked.n or 1, asked.n_generated

        def request(prompt: Sequence[int]) -> GenerationRequest:
            has_scores = asked.logprobs is not None
            return self.engine_request(
                prompt,
                max_tokens=DEFAULT_MAX_TOKENS if asked.max_tokens is None else asked.max_tokens,
                top_logprobs=(asked.logprobs or 0) if has_scores or n_generated > n else None,
                n=n_generated,
                prompt_logprobs=bool(asked.echo) and has_scores,
                return_tokens=bool(asked.store),
            )

        return await run(lambda: [request(prompt) for prompt in continued])

    def body(self, choices: Sequence[Choice], cost: float | None = None) -> bytes:
        """The whole answer's JSON."""
        n, n_generated = self.asked.n or 1, self.asked.n_generated
        return text_body(
            self.head,
            best(choices, n_generated, n) if n_generated > n else choices,
            n,
            self._texts,
            echoes=self._echoes,
            usage=usage_fields(usages(choices), n_generated, cost=cost),
            has_timings=bool(self.asked.timings_per_token),
        )

    def stream(self) -> TextStream:
        """A new formatter of the answer's events."""
        return TextStream(
            self.head,
            len(self._prompts),
            self.asked.n or 1,
            include_usage=self.includes_usage,
            texts=self._texts,
            echoes=self._echoes,
            has_timings=bool(self.asked.timings_per_token),
            has_progress=bool(self.asked.return_progress),
        )

    @property
    def count_field(self) -> str:
        """``best_of`` where that is what asks for many."""
        return "best_of" if self.asked.n_generated > (self.asked.n or 1) else "n"

    @property
    def _texts(self) -> TokenTexts | None:
        return self.served.model if self.asked.logprobs is not None else None

    @property
    def _echoes(self) -> Sequence[Echo] | None:
        return self._prompts if self.asked.echo else None

    def _filled_in(self, suffix: str) -> list[Sequence[int]]:
        """What has the model fill in what is before ``suffix``; raises `APIError` 400."""
        model = self.served.model
        marks = model.fill_in_tokens
        if marks is None:
            refuse("suffix", "this model has no fill-in-the-middle tokens")
        size = len(suffix.encode()) * len(self._prompts)
        if size > self.max_content_size:
            raise invalid(
                f"The suffix, once for each of {len(self._prompts)} prompts, is longer than the "
                f"limit of {self.max_content_size} bytes.",
                "suffix",
                "content_too_large",
            )
        before, after, middle = marks
        ending = model.tokenize(suffix, add_special=False)
        filled: list[Sequence[int]] = []
        for prompt in self._prompts:
            n_bos = int(model.adds_bos and prompt.tokens[0] == model.bos)
            bos, beginning = prompt.tokens[:n_bos], prompt.tokens[n_bos:]
            filled.append([*bos, before, *beginning, after, *ending, middle])
        return filled

    def _read_prompts(self) -> list[Echo]:
        """Each prompt's text and tokens; raises `APIError` 400."""
        asked, served, max_size = self.asked, self.served, self.max_content_size
        prompts: list[Echo] = []
        size = 0
        for i, prompt in enumerate(asked.prompts()):
            param = "prompt" if not isinstance(asked.prompt, list) else f"prompt[{i}]"
            if isinstance(prompt, str):
                size += len(prompt.encode())
                check_prompt_size(size, param, max_size)
                text, tokens = prompt, served.model.tokenize(prompt)
            else:
                flat = isinstance(asked.prompt, list) and isinstance(asked.prompt[0], int)
                check_token_ids(prompt, served.model.n_vocab, "prompt" if flat else param)
                text, tokens = _text(served, prompt) if asked.echo else "", prompt
            if not tokens:
                raise invalid("The prompt is empty: it has no tokens.", param)
            adds_first = served.model.adds_bos or not isinstance(prompt, str)
            hides_first = adds_first and tokens[0] == served.model.bos
            prompts.append(Echo(text, tokens, hides_first=hides_first))
        return prompts


def _text(served: ServedModel, tokens: list[int]) -> str:
    """What ``tokens`` read, control tokens written out but for the beginning of the text."""
    visible = tokens[tokens[0] == served.model.bos :]
    pieces = [served.model.render(token, special=True) for token in visible]
    return b"".join(pieces).decode("utf-8", "replace")
