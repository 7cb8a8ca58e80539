"""The script people write: Trainer or SFTTrainer with its best flags, then scores on test.

    python whole_job_peer.py CASE SEED OUT

Of `whole_job.py`, which writes the folder CASE (case.json, train / validation / test as jsonl).
Knows nothing of ftev. Leaves the model and result.json in OUT.
"""

import json
import math
import sys
import time
from pathlib import Path

import torch
from datasets import load_dataset
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

case_folder, seed, out = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
case = json.loads((case_folder / "case.json").read_text())
files = {s: str(case_folder / f"{s}.jsonl") for s in ("train", "validation", "test")}
data = load_dataset("json", data_files=files, cache_dir=f"{out}/cache")
tokenizer = AutoTokenizer.from_pretrained(case["model"])
result = {}


class FirstStep(TrainerCallback):
    def on_step_end(self, *_, **__):
        result.setdefault("stepped", time.time())


common = {
    "output_dir": out,
    "num_train_epochs": case["epochs"],
    "learning_rate": case["learning_rate"],
    "warmup_steps": 0.06,
    "weight_decay": 0.01,
    "optim": "adamw_torch_fused",
    "bf16": case["bf16"],
    "eval_strategy": "epoch",
    "save_strategy": "epoch",
    "load_best_model_at_end": True,
    "metric_for_best_model": "loss",
    "logging_steps": 10,
    "report_to": "none",
    "disable_tqdm": True,
    "use_cpu": True,
    "seed": seed,
}


def classifier():
    from sklearn.metrics import accuracy_score, classification_report, f1_score

    names = sorted(set(data["train"]["label"]))

    def encode(rows):
        encoded = tokenizer(rows["text"], truncation=True, max_length=case["max_length"])
        return {**encoded, "labels": [names.index(name) for name in rows["label"]]}

    encoded = data.map(encode, batched=True, remove_columns=["text", "label"])
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(
        case["model"],
        num_labels=len(names),
        id2label=dict(enumerate(names)),
        label2id={name: i for i, name in enumerate(names)},
    )

    def metrics(found):
        predicted = found.predictions.argmax(-1)
        macro = f1_score(found.label_ids, predicted, average="macro")
        return {"accuracy": accuracy_score(found.label_ids, predicted), "macro_f1": macro}

    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            per_device_train_batch_size=32,
            per_device_eval_batch_size=64,
            train_sampling_strategy="group_by_length",
            **common,
        ),
        train_dataset=encoded["train"],
        eval_dataset=encoded["validation"],
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
        compute_metrics=metrics,
        callbacks=[FirstStep()],
    )
    trainer.train()
    found = trainer.predict(encoded["test"])
    predicted = found.predictions.argmax(-1)
    every = range(len(names))
    print(classification_report(found.label_ids, predicted, labels=every, target_names=names))
    result["loss"] = found.metrics["test_loss"]
    result["accuracy"] = found.metrics["test_accuracy"]
    trainer.save_model(f"{out}/model")


def language_model():
    from trl import SFTConfig, SFTTrainer

    # joined as text: the same ids as ftev's
    rows = data.map(lambda row: {"completion": " " + row["completion"]})
    peft = None
    if case["lora"]:
        from peft import LoraConfig

        peft = LoraConfig(r=8, lora_alpha=16, task_type="CAUSAL_LM")
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(case["model"]),
        args=SFTConfig(
            max_length=512,
            packing=True,
            packing_strategy="bfd",
            eval_packing=False,
            per_device_train_batch_size=1,
            gradient_accumulation_steps=case["blocks"],
            per_device_eval_batch_size=16,
            gradient_checkpointing=False,
            completion_only_loss=True,
            **common,
        ),
        train_dataset=rows["train"],
        eval_dataset={"validation": rows["validation"], "test": rows["test"]},
        processing_class=tokenizer,
        peft_config=peft,
        callbacks=[FirstStep()],
    )
    test = trainer.eval_dataset.pop("test")
    trainer.eval_dataset = trainer.eval_dataset["validation"]
    trainer.train()
    found = trainer.evaluate(test, metric_key_prefix="test")
    result["loss"], result["accuracy"] = (
        found["test_loss"],
        found.get("test_mean_token_accuracy", math.nan),
    )
    trainer.save_model(f"{out}/model")


classifier() if case["task"] == "classification" else language_model()
Path(out, "result.json").write_text(json.dumps(result))
