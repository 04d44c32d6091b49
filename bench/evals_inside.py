"""What runs in a peer's own environment: the same questions, by its own means, with its own mock or the same server.

    PEER/bin/python bench/evals_inside.py inspect_ai mock --data sums.jsonl --instances 500

Imports nothing of ours. Prints one line of JSON: the wall seconds of the evaluation without imports, and how many
answers came. ``what``: mock (4-way multiple choice in one prompt, one request an instance), endpoint (the same, asked
of ``--url``), choice and generate (a model folder, ``--model``: 4 scored choices an instance, or 8 tokens).
"""

# mypy: ignore-errors
from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

LETTERS = "ABCD"
INSTRUCTIONS = "The following are multiple choice questions (with answers)."


def rows(arguments: argparse.Namespace) -> list[dict]:
    with arguments.data.open() as file:
        return [json.loads(line) for line in file][: arguments.instances]


def prompt(row: dict) -> str:
    """As our multiple choice asks it."""
    choices = "".join(f"{letter}. {text}\n" for letter, text in zip(LETTERS, row["choices"], strict=True))
    return f"{INSTRUCTIONS}\n\nQuestion: {row['question']}\n{choices}Answer:"


def inspect_ai(arguments: argparse.Namespace) -> tuple[float, int]:
    from inspect_ai import Task, eval
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import ModelOutput, ModelUsage
    from inspect_ai.scorer import choice
    from inspect_ai.solver import multiple_choice

    samples = [
        Sample(id=row["id"], input=row["question"], choices=row["choices"], target=LETTERS[row["answer"]])
        for row in rows(arguments)
    ]
    task = Task(dataset=MemoryDataset(samples), solver=multiple_choice(), scorer=choice())
    usage = ModelUsage(
        input_tokens=20, output_tokens=1, total_tokens=21
    )  # else it counts, with a downloaded tokenizer

    def answer(*asked):
        output = ModelOutput.from_content(model="mockllm/model", content="ANSWER: A")
        output.usage = usage
        return output

    more = {"model": "mockllm/model", "model_args": {"custom_outputs": answer}}
    if arguments.what == "endpoint":
        os.environ |= {"BENCH_API_KEY": "none", "BENCH_BASE_URL": arguments.url}
        more = {"model": "openai-api/bench/tiny", "max_connections": arguments.concurrency}
        more |= {"max_samples": arguments.concurrency, "max_tokens": 1}
    began = time.monotonic()
    (log,) = eval(task, display="none", log_dir="inspect-logs", **more)
    seconds = time.monotonic() - began
    if log.status != "success":
        raise SystemExit(f"inspect_ai: {log.status}: {log.error.message[:150] if log.error else None}")
    return seconds, log.results.completed_samples


def lm_eval(arguments: argparse.Namespace) -> tuple[float, int]:
    import datasets
    from lm_eval import simple_evaluate
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    found = rows(arguments)
    data = datasets.DatasetDict({"test": datasets.Dataset.from_list(found)})
    task = {"task": "sums", "dataset_path": "sums", "custom_dataset": lambda **_: data, "test_split": "test"}
    if arguments.what == "choice":
        task |= {
            "output_type": "multiple_choice",
            "doc_to_text": "{{question}}",
            "doc_to_choice": "choices",
            "doc_to_target": "answer",
            "metric_list": [{"metric": "acc"}],
        }
    else:
        task |= {
            "output_type": "generate_until",
            "doc_to_text": lambda row: row["question"] if arguments.what == "generate" else prompt(row),
            "doc_to_target": lambda row: LETTERS[row["answer"]],
            "generation_kwargs": {
                "until": ["\n"] if arguments.what != "generate" else ["<|never|>"],
                "max_gen_toks": 8 if arguments.what == "generate" else 1,
                "do_sample": False,
            },
            "metric_list": [{"metric": "exact_match"}],
        }
    model, args, more = "dummy", "", {}
    if arguments.what == "endpoint":
        model = "local-completions"
        args = f"model=tiny,base_url={arguments.url}/completions,num_concurrent={arguments.concurrency}"
        args += ",tokenizer_backend=None,tokenized_requests=False,max_retries=1"
    elif arguments.what in ("choice", "generate"):
        model, args = "hf", f"pretrained={arguments.model},dtype=float32"
        more = {"batch_size": 64, "device": "cpu"}
    began = time.monotonic()
    tracker = EvaluationTracker(output_path="lm-eval-output")  # as its command does with --log_samples
    done = simple_evaluate(
        model=model,
        model_args=args,
        tasks=[task],
        task_manager=TaskManager(include_defaults=False),
        evaluation_tracker=tracker,
        **more,
    )
    samples = done.pop("samples")
    tracker.save_results_aggregated(results=done, samples=samples)
    tracker.save_results_samples(task_name="sums", samples=samples["sums"])
    return time.monotonic() - began, len(samples["sums"])


def crfm_helm(arguments: argparse.Namespace) -> tuple[float, int]:
    sys.modules.setdefault("evals_inside", sys.modules["__main__"])
    from helm.benchmark.config_registry import register_builtin_configs_from_helm_package
    from helm.benchmark.executor import ExecutionSpec
    from helm.benchmark.metrics.common_metric_specs import get_exact_match_metric_specs
    from helm.benchmark.run_spec import RunSpec
    from helm.benchmark.runner import Runner
    from helm.benchmark.scenarios.scenario import ScenarioSpec
    from helm.common.authentication import Authentication

    sys.modules["__main__"].Sums = _helm_scenario(rows(arguments))
    register_builtin_configs_from_helm_package()
    spec = RunSpec(
        name="sums",
        scenario_spec=ScenarioSpec(class_name="evals_inside.Sums"),
        adapter_spec=_helm_adapter(arguments.instances, _helm_deployment(arguments)),
        metric_specs=get_exact_match_metric_specs(),
        groups=["sums"],
    )
    local = Path("helm-local")
    local.mkdir(exist_ok=True)
    execution = ExecutionSpec(
        url=None, auth=Authentication(""), local_path=str(local), parallelism=arguments.concurrency
    )
    began = time.monotonic()
    Runner(
        execution_spec=execution,
        output_path="helm-output",
        suite=f"s{time.time_ns()}",
        skip_instances=False,
        cache_instances=False,
        cache_instances_only=False,
        skip_completed_runs=False,
        exit_on_error=True,
    ).run_all([spec])
    seconds = time.monotonic() - began
    newest = max(Path("helm-output").rglob("per_instance_stats.json"), key=lambda file: file.stat().st_mtime)
    return seconds, len(json.loads(newest.read_text()))


def _helm_scenario(found):
    """HELM's scenario of these rows: a class, which it finds by its name."""
    from helm.benchmark.scenarios.scenario import (
        CORRECT_TAG,
        TEST_SPLIT,
        Input,
        Instance,
        Output,
        Reference,
        Scenario,
    )  # fmt: skip

    class Sums(Scenario):
        name, description, tags = "sums", "sums", []

        def get_instances(self, output_path):
            return [
                Instance(
                    input=Input(text=row["question"]),
                    references=[
                        Reference(Output(text=text), tags=[CORRECT_TAG] if n == row["answer"] else [])
                        for n, text in enumerate(row["choices"])
                    ],
                    split=TEST_SPLIT,
                )
                for row in found
            ]

    return Sums


def _helm_deployment(arguments: argparse.Namespace) -> str:
    """HELM's own mock, or the slow server."""
    if arguments.what != "endpoint":
        return "simple/model1"
    from helm.benchmark.model_deployment_registry import (
        ClientSpec,
        ModelDeployment,
        register_model_deployment,
    )

    register_model_deployment(
        ModelDeployment(
            name="bench/tiny",
            model_name="simple/model1",
            tokenizer_name="simple/tokenizer1",
            max_sequence_length=4096,
            client_spec=ClientSpec(
                class_name="helm.clients.openai_client.OpenAILegacyCompletionsClient",
                args={"base_url": arguments.url, "api_key": "none", "openai_model_name": "tiny"},
            ),
        )
    )
    return "bench/tiny"


def _helm_adapter(instances: int, deployment: str):
    from helm.benchmark.adaptation.adapter_spec import AdapterSpec

    return AdapterSpec(
        method="multiple_choice_joint",
        instructions=INSTRUCTIONS + "\n",
        input_prefix="Question: ",
        input_suffix="\n",
        output_prefix="Answer: ",
        output_suffix="\n",
        max_train_instances=0,
        max_eval_instances=instances,
        model="simple/model1",
        model_deployment=deployment,
        max_tokens=1,
        temperature=0.0,
        stop_sequences=["\n"],
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("peer", choices=["inspect_ai", "lm_eval", "crfm_helm"])
    parser.add_argument("what", choices=["mock", "endpoint", "choice", "generate"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--instances", type=int, required=True)
    parser.add_argument("--url", default="")
    parser.add_argument("--model", default="")
    parser.add_argument("--concurrency", type=int, default=4)
    arguments = parser.parse_args()
    seconds, scored = globals()[arguments.peer](arguments)
    print(json.dumps({"seconds": seconds, "scored": scored}))


if __name__ == "__main__":
    main()
