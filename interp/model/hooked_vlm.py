"""HookedVLM: a Hugging Face vision-language model, loaded, hooked, checked, and asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from interp.model.adapters import inside
from interp.model.hooked import HookedModel, Names
from interp.options import ANSWERS, known_options
from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel

    from interp import ExplorePage
    from interp.hooks.rows import QueryRows
    from interp.image.photos import ImageSource
    from interp.intervene.base import Intervention
    from interp.model.generation import GeneratedAttention, Generation
    from interp.model.tokens import Promptable
    from interp.prompt.inputs import VLMInputs


@fits_a_cell("origin.model family=family.name cfg.n_layers cfg.n_heads dtype device wrapped self_checked")
class HookedVLM(HookedModel):
    """A vision-language model, its processor, and TransformerLens hook points on both of its towers.

    Runs untouched code unless somebody listens: an unhooked run is bit-equal to plain Hugging Face. Attention is read
    and edited for chosen query rows only, so that a capture costs O(rows x keys).

    The hook points, the same for every family but where one is named, with the shapes of what they show (`row`: the
    chosen query rows)::

        blocks.{l}                      language model, block l, 0-based
        ├── hook_resid_pre              batch pos d_model: what enters the block
        ├── attn
        │   ├── hook_q                  batch pos head d_head: straight from the projection
        │   ├── hook_k, hook_v          batch pos kv_head d_head
        │   ├── hook_rot_q, hook_rot_k  the same, after norm and rotary positions; keys: every one so far
        │   ├── hook_attn_logits        batch head row key: scaled q.k before the mask
        │   ├── hook_attn_scores        batch head row key: after the mask, before the softmax
        │   ├── hook_pattern            batch head row key: after the softmax
        │   ├── hook_z                  batch pos head d_head: before the output projection
        │   └── hook_result             batch pos head d_model: what each head adds; kept where it is named
        ├── hook_attn_out               batch pos d_model: what attention adds
        ├── hook_resid_mid              batch pos d_model
        ├── ln1, ln2                    the norms before attention and before the MLP
        │   ├── hook_scale              batch pos 1: what they divide by
        │   ├── hook_normalized         batch pos d_model: before the gain
        │   └── hook_out                batch pos d_model: with gain and bias, as it is read
        ├── mlp
        │   ├── hook_pre                batch pos d_mlp: before the activation
        │   ├── hook_pre_linear         batch pos d_mlp: what gated MLPs multiply that with
        │   └── hook_post               batch pos d_mlp: before the output projection
        ├── hook_mlp_out                batch pos d_model: what the MLP adds
        └── hook_resid_post             batch pos d_model: what leaves the block
        vision.blocks.{l}. ...          vision tower: the same names; rows of attention have to be named
        projector.hook_out              image_token d_model: what the language model receives
        projector.deepstack.{k}.hook_out
                                        image_token d_model: what is added to it behind block k (DeepStack alone)
        hook_embed                      batch pos d_model: of the ids; the photo is put in later
        ln_final.hook_scale, hook_normalized, hook_out
                                        as in ln1: the unembedding reads hook_out
        unembed.hook_out                batch pos d_vocab

    Example:
        >>> vlm = HookedVLM.from_pretrained("shapes-vlm")
        >>> inputs = vlm.prepare("photo.jpg", "Where is the mug in the photo?")
        >>> output, cache = vlm.run_with_cache(inputs, names_filter=lambda name: name.endswith("hook_pattern"))
        >>> cache["pattern", 6].shape  # batch head row key: the last prompt row
        torch.Size([1, 8, 1, 93])
    """

    def __init__(self, model: PreTrainedModel, processor: Any, *, self_check: bool = True) -> None:
        """Hook a loaded model; see `wrap`."""
        super().__init__(inside(model), processor)
        self._check_endings()
        if self_check:
            self._check_self()

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        dtype: Any = "auto",
        device_map: Any = None,
        revision: str | None = None,
        self_check: bool = True,
        processor_options: Mapping[str, Any] | None = None,
        image_backend: str | None = None,
        **kwargs: Any,
    ) -> HookedVLM:
        """Load a model by hub name, local path, or the name of an embedded one, and hook it.

        Parameters are frozen: gradients flow from wherever a hook asks for them.

        Args:
            name: such as `llava-hf/llava-1.5-7b-hf`, `./my-llava` or `shapes-vlm`; also the folder of an adapter that
                peft saved.
            dtype: a torch dtype or its name; `auto` is the checkpoint's own.
            device_map: where the model goes, as transformers understands it.
            revision: a branch, tag or commit on the hub.
            self_check: prove on load that hooks see and change what they should; see `interp.model.selfcheck`.
            processor_options: settings of the processor by name, such as `max_pixels` or `do_image_splitting`; they go
                into the record of every result.
            image_backend: what resizes photos, `pil` or `torchvision`, whose pixels differ a little; by default what
                the checkpoint's processor takes. Every record says which it was.
            **kwargs: options for loading: see `interp.model.loading.load_model`; `trust_remote_code=True` lets a
            checkpoint's own code run.

        Raises:
            ModelError: it can not be loaded, is of an unknown family, or fails its self-check.
            InputError: the processor has no such option, or is not to be had on that backend.
        """
        from interp.model.loading import load_model

        options = {"processor_options": processor_options, "image_backend": image_backend, **kwargs}
        model, processor = load_model(name, dtype=dtype, device_map=device_map, revision=revision, **options)
        hooked = cls(model, processor, self_check=self_check)
        hooked.origin = {"model": str(name), "revision": revision}
        if processor_options:
            hooked.origin["processor"] = dict(processor_options)
        return hooked

    @classmethod
    @known_options()
    def wrap(cls, model: PreTrainedModel, processor: Any, *, self_check: bool = True) -> HookedVLM:
        """Hook a model that is already loaded (quantised, fine-tuned, LoRA); undone by `unwrap`.

        Of a `PeftModel` the model in it is hooked, its adapters in its layers: they are as active as they are in yours.

        Raises:
            ModelError: it is of an unknown family, fails its self-check, is compiled, or its adapter works outside of
                its layers.
        """
        return cls(model, processor, self_check=self_check)

    # generation -------------------------------------------------------------------------------------------------

    def generate(
        self,
        inputs: Promptable,
        max_new_tokens: int = 10,
        *,
        intervention: Intervention | None = None,
        fwd_hooks: Sequence[tuple[Names, Callable[..., Any]]] = (),
        query_rows: QueryRows | None = None,
        **chosen: Any,
    ) -> Generation:
        """Answer, under an intervention or hook functions if given; see `interp.model.generation.generate`.

        Greedily, unless settings of transformers' `GenerationConfig` are chosen. Beams and returned sequences are
        edited as the sample that they come from.

        Example:
            >>> vlm.generate(inputs, 20, intervention=ScaleImageLogits(0.5), num_beams=3)
            >>> vlm.generate(inputs, 20, do_sample=True, temperature=0.7, num_return_sequences=4)
        """
        from interp.model.generation import generate

        given = self.inputs_of(inputs)
        with self.hooks(fwd_hooks, query_rows=query_rows, intervention=intervention, inputs=given):
            return generate(self, given, max_new_tokens, **chosen)

    @known_options(ANSWERS)
    def generate_with_cache(
        self,
        inputs: VLMInputs,
        max_new_tokens: int = 10,
        *,
        query_rows: QueryRows = "generated",
        intervention: Intervention | None = None,
    ) -> tuple[Generation, tuple[GeneratedAttention, ...]]:
        """Answer greedily and keep each new token's attention row; see `interp.model.generation`."""
        from interp.model.generation import generate_with_cache

        with self.hooks(intervention=intervention, inputs=inputs):
            return generate_with_cache(self, inputs, max_new_tokens, query_rows=query_rows)

    def explore(self, photo: ImageSource, question: str, **settings: Any) -> ExplorePage:
        """Ask a question about a photo, and show where each layer and head looks as one page to explore.

        Settings are those of `interp.page.explore.explore`, such as `detector`, `intervention` and `out`.

        Example:
            >>> vlm.explore("photo.jpg", "Where is the mug in the photo?").save("page.html")
        """
        from interp import explore  # the facade: the page stands on this class

        return explore(self, photo, question, **settings)

    def _check_endings(self) -> None:
        """Refuse generation settings by which no answer can end, before anything is asked."""
        from interp.model.generation import greedy_settings

        try:
            greedy_settings(self, 1)
        except BaseException:
            self.unwrap()
            raise

    def _check_self(self) -> None:
        from interp.model.selfcheck import check_on_load

        try:
            check_on_load(self)
        except BaseException:
            self.unwrap()
            raise
        self.self_checked = True
