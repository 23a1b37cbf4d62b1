"""Loads a classifier that `transformers` knows, without running any code of its own, and answers with labels."""

import json
import os

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from submission_server import NotASubmission
from transformers import AutoModelForSequenceClassification, AutoTokenizer

NAME = "bert_mnli_model"
FOLDER = f"{os.environ['ARTIFACT']}/{NAME}"
BERT = f"{os.environ['DATA']}/bert-base-uncased"
LENGTH, LABELS = 128, 3
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_model():
    if not os.path.isfile(f"{FOLDER}/config.json"):
        raise NotASubmission(f"{NAME} has no config.json: write the folder with save_pretrained")
    try:
        model = AutoModelForSequenceClassification.from_pretrained(
            FOLDER, local_files_only=True, trust_remote_code=False, dtype=torch.float32
        )
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        raise NotASubmission(f"{NAME} cannot be loaded: {type(error).__name__}: {text}") from None
    if model.config.num_labels != LABELS:
        raise NotASubmission(f"{NAME} is a classifier for {model.config.num_labels} labels, not {LABELS}")
    return model.to(DEVICE).eval()


def load_tokenizer():
    own = any(os.path.isfile(f"{FOLDER}/{name}") for name in ("tokenizer.json", "vocab.txt", "tokenizer_config.json"))
    try:
        return AutoTokenizer.from_pretrained(FOLDER if own else BERT, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        raise NotASubmission(f"the tokenizer of {NAME} cannot be loaded: {type(error).__name__}: {text}") from None


MODEL, TOKENIZER = load_model(), load_tokenizer()


@torch.inference_mode()
def answer(question):
    premises, hypotheses = zip(*json.loads(question), strict=True)
    inputs = TOKENIZER(
        list(premises), list(hypotheses), truncation=True, max_length=LENGTH, padding=True, return_tensors="pt"
    )
    logits = MODEL(**inputs.to(DEVICE)).logits
    if logits.shape != (len(premises), LABELS):
        raise NotASubmission(f"{NAME} gives {tuple(logits.shape)} for {len(premises)} pairs")
    return bytes(logits.argmax(-1).tolist())
