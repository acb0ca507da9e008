"""Speculator of an engine, with the context of its draft model."""

from __future__ import annotations

from shared.engine.batching.row_costs import RowCosts
from shared.engine.config import default_threads
from shared.engine.kv_cache.cache import KVCache
from shared.engine.kv_cache.copies import least_copied
from shared.engine.llama.context import Context, ContextParams
from shared.engine.llama.context_fit import new_draft_context
from shared.engine.llama.model import Model
from shared.engine.speculation.cost_estimates import CostEstimates
from shared.engine.speculation.draft_context import DraftContext
from shared.engine.speculation.draft_model import DraftModel
from shared.engine.speculation.options import SpeculationOptions
from shared.engine.speculation.speculator import Speculator


def new_speculator(
    target: Context,
    params: ContextParams,
    kv: KVCache,
    costs: RowCosts,
    *,
    draft_model: Model | None,
    options: SpeculationOptions | None,
) -> Speculator | None:
    """What drafts for ``target``, which was made with ``params``; None where nothing can.

    Raises `LlamaError` where the draft model's context can't be made.
    """
    if options is None or not kv.can_cut:
        return None
    estimates = CostEstimates(costs)
    drafting: DraftModel | None = None
    if draft_model is not None:
        n_threads = options.n_threads or min(params.n_threads, default_threads(draft_model))
        context = new_draft_context(draft_model, params, n_threads)
        followed = DraftContext(context, kv, _least_shared(context, draft_model))
        drafting = DraftModel(
            *(followed, options, estimates, target.model),
            relative_size=draft_model.size / target.model.size,
            logits_factor=draft_model.logits_factor,
        )
    return Speculator(kv, estimates, options, min(target.n_batch, params.n_outputs_max), drafting)


def _least_shared(context: Context, model: Model) -> int:
    """Tokens for which another sequence's cells are used: in a pool any, else `least_copied`."""
    if context.is_unified:
        return 2
    return least_copied(context.n_ctx_seq * model.cell_bytes, model.size)
