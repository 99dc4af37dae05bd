// Names that peers have and a job file has not.
// Sources: the argument classes and documentation of transformers 5.23 (TrainingArguments), TRL
// (SFTConfig, DPOConfig), PEFT (LoraConfig), Axolotl (its configuration reference), LLaMA-Factory
// (hparams), nanoGPT (train.py), read for their names alone.
#include "common/job_spec/fields.h"

namespace trainyard {

const std::map<std::string, std::string, std::less<>>& PeerKeysWithoutField() {
  // What is said, once, and of which names.
  struct Hint {
    const char* instead;
    std::vector<const char*> keys;
  };
  static const std::vector<Hint> hints = {
      {"give train.max_steps; a step is global_batch_size x max_length tokens",
       {"num_train_epochs", "num_epochs", "max_epochs", "epochs"}},
      {"it follows from train.global_batch_size / (train.micro_batch_size x resources.ranks)",
       {"gradient_accumulation_steps", "grad_accum_steps", "accumulate_grad_batches"}},
      {"give train.global_batch_size, the rows of a step over all ranks, or "
       "train.micro_batch_size, those of one forward of a rank",
       {"batch_size", "train_batch_size_per_gpu", "mini_batch_size"}},
      {"evaluation takes rows as training does: train.micro_batch_size",
       {"per_device_eval_batch_size", "eval_batch_size", "val_batch_size"}},
      {"give train.warmup_steps", {"warmup_ratio"}},
      {"half precision is train.precision: bf16",
       {"fp16", "half_precision_backend", "fp16_full_eval", "bf16_full_eval", "tf32"}},
      {"give evaluation.eval_steps",
       {"eval_strategy", "evaluation_strategy", "do_eval", "evals_per_epoch"}},
      {"a job of kind pretrain trains, one of kind evaluate only evaluates",
       {"do_train", "do_predict", "eval_only"}},
      {"give checkpoint.save_steps",
       {"save_strategy", "always_save_checkpoint", "saves_per_epoch"}},
      {"give train.logging_steps", {"logging_strategy"}},
      {"give data.train: [{path: ...}] with local files or a folder",
       {"dataset_name", "dataset", "dataset_dir", "dataset_config_name", "eval_dataset"}},
      {"give data.validation: [{path: ...}]: the validation texts are files of their own",
       {"val_set_size", "val_size", "validation_split_percentage", "test_size"}},
      {"checkpoints go to the BlobStore; `trainyard checkpoint export` copies one out",
       {"output_dir", "out_dir", "overwrite_output_dir", "logging_dir"}},
      {"a job resumes by itself; to start from weights give model.from",
       {"resume_from_checkpoint", "auto_resume_from_checkpoints", "init_from", "resume"}},
      {"rows are always packed",
       {"packing", "sample_packing", "neat_packing", "group_by_length", "pad_to_sequence_len",
        "padding_free", "eval_packing"}},
      {"adapters (LoRA) are not built yet: all weights are trained",
       {"lora_r",
        "lora_rank",
        "lora_alpha",
        "lora_dropout",
        "lora_target",
        "lora_target_modules",
        "lora_target_linear",
        "lora_modules_to_save",
        "lora_model_dir",
        "adapter",
        "adapter_name_or_path",
        "use_peft",
        "peft_config",
        "use_dora",
        "use_rslora",
        "qlora",
        "target_modules",
        "modules_to_save",
        "finetuning_type",
        "r"}},
      {"quantised training is not built: weights are fp32 masters, train.precision: bf16 halves "
       "activations",
       {"load_in_4bit", "load_in_8bit", "quantization", "quantization_bit", "quantization_config",
        "quantization_method", "bnb_4bit_quant_type", "bnb_4bit_compute_dtype", "gptq", "fp8"}},
      {"DeepSpeed and FSDP are not used: each of resources.ranks holds the model, gradients are "
       "summed directly",
       {"deepspeed", "fsdp", "fsdp_config", "fsdp_version", "zero_stage", "sharded_ddp",
        "accelerator_config", "ddp_find_unused_parameters", "ddp_backend", "backend"}},
      {"a job has data-parallel ranks alone: resources.ranks",
       {"tensor_parallel_size", "pipeline_parallel_size", "context_parallel_size",
        "sequence_parallel_degree", "num_nodes", "nnodes", "devices"}},
      {"metrics are kept here: `trainyard watch`, `trainyard metrics export --tensorboard`, "
       "Prometheus",
       {"report_to", "wandb", "wandb_project", "wandb_run_name", "wandb_run_id", "wandb_entity",
        "wandb_log", "wandb_log_model", "use_wandb", "mlflow_experiment_name", "comet_project_name",
        "swanlab_project", "tensorboard", "plot_loss", "log_level"}},
      {"nothing goes to or comes from the Hugging Face Hub by itself: `trainyard checkpoint "
       "export` makes a folder that you can upload",
       {"push_to_hub", "hub_model_id", "hub_token", "hub_strategy", "hub_private_repo",
        "use_auth_token", "token", "hf_use_auth_token", "cache_dir", "model_revision", "revision",
        "hub_revision"}},
      {"no code of a model is run: the families that are built are in docs/models.md",
       {"trust_remote_code", "custom_model", "model_class"}},
      {"the shape stands in model.config, in the key of its model_type: n_layer (gpt2) or "
       "num_hidden_layers",
       {"n_layer"}},
      {"the shape stands in model.config, in the key of its model_type: n_layers (distilbert) or "
       "num_hidden_layers",
       {"n_layers"}},
      {"the shape stands in model.config, in the key of its model_type: num_hidden_layers or "
       "n_layer (gpt2)",
       {"num_hidden_layers"}},
      {"the shape stands in model.config, in the key of its model_type: n_head (gpt2) or "
       "num_attention_heads",
       {"n_head"}},
      {"the shape stands in model.config, in the key of its model_type: num_attention_heads or "
       "n_head (gpt2)",
       {"num_attention_heads"}},
      {"the shape stands in model.config, in the key of its model_type: num_key_value_heads",
       {"n_kv_head", "num_key_value_heads"}},
      {"the shape stands in model.config, in the key of its model_type: n_embd (gpt2) or "
       "hidden_size",
       {"n_embd"}},
      {"the shape stands in model.config, in the key of its model_type: hidden_size or n_embd "
       "(gpt2)",
       {"hidden_size"}},
      {"the shape stands in model.config, in the key of its model_type: hidden_size, or n_embd "
       "(gpt2)",
       {"d_model"}},
      {"the shape stands in model.config, in the key of its model_type: intermediate_size or "
       "n_inner (gpt2)",
       {"intermediate_size"}},
      {"the shape stands in model.config, in the key of its model_type: n_inner (gpt2) or "
       "intermediate_size",
       {"n_inner"}},
      {"the shape stands in model.config, in the key of its model_type: model_type",
       {"model_type"}},
      {"the shape stands in model.config, in the key of its model_type: max_position_embeddings or "
       "n_positions (gpt2)",
       {"max_position_embeddings"}},
      {"the shape stands in model.config, in the key of its model_type: n_positions (gpt2) or "
       "max_position_embeddings",
       {"n_positions"}},
      {"the shape stands in model.config, in the key of its model_type: rope_theta",
       {"rope_theta"}},
      {"the shape stands in model.config, in the key of its model_type: rope_scaling",
       {"rope_scaling"}},
      {"the shape stands in model.config, in the key of its model_type: tie_word_embeddings",
       {"tie_word_embeddings"}},
      {"the vocabulary is the tokenizer's: give tokenizer.train.vocab_size", {"vocab_size"}},
      {"give dropout in model.config where the family has it, for example resid_pdrop (gpt2)",
       {"dropout"}},
      {"biases are those of the family; llama has attention_bias in model.config", {"bias"}},
      {"it comes with fine-tuning (kind sft), which is not built yet",
       {"train_on_inputs", "completion_only_loss", "assistant_only_loss", "chat_template",
        "template", "prompt_template", "instruction_template", "response_template", "mask_history",
        "train_on_prompt", "neftune_noise_alpha", "special_tokens", "datasets_prepared_path",
        "dataset_kwargs", "formatting_func", "enable_liger_kernel", "freeze_trainable_layers",
        "unfrozen_parameters"}},
      {"it comes with preference tuning and RLHF, which are not built yet",
       {"beta", "loss_type", "rl", "pref_beta", "pref_loss", "reward_model", "ref_model",
        "num_generations", "kl_coef", "vllm_server_host", "use_vllm", "max_prompt_length",
        "max_completion_length"}},
      {"attention is our own kernel on CPUs, ATen's on GPUs; there is nothing to choose",
       {"attn_implementation", "flash_attention", "flash_attn", "sdp_attention",
        "xformers_attention", "use_flash_attention_2", "use_unsloth", "unsloth"}},
      {"nothing is compiled at run time; kernels are chosen for the processor by themselves",
       {"torch_compile", "compile", "torch_compile_backend", "torch_compile_mode"}},
      {"data are prepared once into shards and read by each rank; there are no loader processes to "
       "set",
       {"dataloader_num_workers", "dataloader_pin_memory", "dataloader_drop_last",
        "dataloader_prefetch_factor", "preprocessing_num_workers", "dataset_num_proc",
        "dataset_processes", "overwrite_cache", "streaming", "num_workers", "remove_unused_columns",
        "max_samples", "max_train_samples"}},
      {"the device is resources.device: cpu or cuda",
       {"use_cpu", "no_cuda", "use_cuda", "gpus", "local_rank"}},
      {"learning-rate shapes are train.lr_scheduler_type, with train.min_lr_ratio and "
       "train.decay_steps",
       {"lr_scheduler_kwargs", "decay_lr", "lr_decay_iters", "lr_decay_steps"}},
      {"give train.min_lr_ratio, the share of train.learning_rate at the end", {"min_lr"}},
      {"optimisers are train.optim: adamw or muon; 8-bit and paged ones are not built",
       {"optim_args", "optim_target_modules", "galore", "use_galore", "use_apollo", "use_badam",
        "adafactor"}},
      {"the best checkpoint is not chosen by itself: keep several with "
       "checkpoint.save_total_limit, compare by `trainyard metrics export`",
       {"load_best_model_at_end", "metric_for_best_model", "greater_is_better",
        "early_stopping_patience"}},
      {"checkpoints are always safetensors, with the optimiser's state beside",
       {"save_safetensors", "save_only_model"}},
      {"label smoothing is not built", {"label_smoothing_factor", "label_smoothing"}},
      {"give evaluation.max_rows", {"eval_iters"}},
      {"the first step is not evaluated; give evaluation.eval_steps",
       {"eval_on_start", "eval_delay"}},
      {"results are the same to the bit by train.seed on the same ranks",
       {"full_determinism", "data_seed", "deterministic"}},
      {"a mixture of experts is not built",
       {"num_experts", "num_local_experts", "router_aux_loss_coef", "moe_aux_loss_coef"}},
  };
  static const std::map<std::string, std::string, std::less<>> by_key = [] {
    std::map<std::string, std::string, std::less<>> made;
    for (const Hint& hint : hints)
      for (const char* key : hint.keys) made.emplace(key, hint.instead);
    return made;
  }();
  return by_key;
}

}  // namespace trainyard
