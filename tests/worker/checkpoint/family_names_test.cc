#include "worker/checkpoint/family_names.h"

#include <gmock/gmock.h>

namespace trainyard::worker {
namespace {

struct Case {
  const char* model_type;
  const char* in_file;
  const char* name;
  TensorRole role;
  const char* tied_to = "";
};

TEST(FamilyNames, AreTransformersOfToday) {
  using enum TensorRole;
  const Case cases[] = {
      {"llama", "model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.weight", kWeight},
      {"qwen3", "layers.11.self_attn.q_norm.weight", "model.layers.11.self_attn.q_norm.weight",
       kWeight},
      {"gemma2", "norm.weight", "model.norm.weight", kWeight},
      {"mistral", "layers.0.self_attn.rotary_emb.inv_freq",
       "model.layers.0.self_attn.rotary_emb.inv_freq", kBuffer},
      {"qwen2", "lm_head.weight", "lm_head.weight", kTied, "model.embed_tokens.weight"},
      {"gpt2", "wte.weight", "transformer.wte.weight", kWeight},
      {"gpt2", "h.3.attn.c_attn.bias", "transformer.h.3.attn.c_attn.bias", kWeight},
      {"gpt2", "h.3.attn.bias", "transformer.h.3.attn.bias", kBuffer},
      {"gpt2", "transformer.h.3.attn.masked_bias", "transformer.h.3.attn.masked_bias", kBuffer},
      {"gpt2", "lm_head.weight", "lm_head.weight", kTied, "transformer.wte.weight"},
      {"bert", "embeddings.LayerNorm.gamma", "bert.embeddings.LayerNorm.weight", kWeight},
      {"bert", "bert.encoder.layer.0.output.LayerNorm.beta",
       "bert.encoder.layer.0.output.LayerNorm.bias", kWeight},
      {"bert", "embeddings.position_ids", "bert.embeddings.position_ids", kBuffer},
      {"bert", "pooler.dense.weight", "bert.pooler.dense.weight", kUnused},
      {"bert", "cls.seq_relationship.bias", "cls.seq_relationship.bias", kUnused},
      {"bert", "cls.predictions.bias", "cls.predictions.bias", kWeight},
      {"bert", "cls.predictions.decoder.bias", "cls.predictions.decoder.bias", kTied,
       "cls.predictions.bias"},
      {"roberta", "encoder.layer.0.output.dense.bias", "roberta.encoder.layer.0.output.dense.bias",
       kWeight},
      {"roberta", "lm_head.decoder.weight", "lm_head.decoder.weight", kTied,
       "roberta.embeddings.word_embeddings.weight"},
      {"distilbert", "transformer.layer.0.ffn.lin1.bias",
       "distilbert.transformer.layer.0.ffn.lin1.bias", kWeight},
      {"distilbert", "vocab_projector.weight", "vocab_projector.weight", kTied,
       "distilbert.embeddings.word_embeddings.weight"},
      {"other", "layers.0.attn.bias", "layers.0.attn.bias", kWeight},
  };
  for (const Case& c : cases) {
    const CanonicalName canonical = CanonicalTensorName(c.model_type, c.in_file);
    EXPECT_EQ(canonical.name, c.name) << c.in_file;
    EXPECT_EQ(canonical.role, c.role) << c.in_file;
    EXPECT_EQ(canonical.tied_to, c.tied_to) << c.in_file;
  }
}

}  // namespace
}  // namespace trainyard::worker
