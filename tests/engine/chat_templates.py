"""Small templates of the same form as those of usual model families; none is a copy of theirs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """A template, the tokens that it needs, and what it makes of an answer."""

    template: str
    end: str  # the token that ends an answer
    tokens: tuple[str, ...] = ()
    system: bool = True  # whether it has a system message
    tools: bool = False
    rewrites: bool = False  # earlier reasoning is dropped once later turns follow
    before: str = ""  # what the model writes before its answer, in the last turn


LLAMA_3 = """\
{{- bos_token }}{%- for m in messages %}
{%- if m.role == 'assistant' and 'tool_calls' in m %}
{%- if m.tool_calls | length != 1 %}{{ raise_exception('one call at a time') }}{% endif %}
{{- '<|start|>assistant<|end|>\\n\\n' }}
{{- '{"name": "' + m.tool_calls[0].function.name + '", "parameters": ' }}
{{- m.tool_calls[0].function.arguments | tojson }}{{ '}<|eot|>' }}
{%- else %}{{- '<|start|>' + m.role + '<|end|>\\n\\n' }}
{%- if loop.first %}{% for t in tools or [] %}{{ t | tojson }}{{ '\\n' }}{% endfor %}{% endif %}
{{- m.content | trim + '<|eot|>' }}{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start|>assistant<|end|>\\n\\n' }}{%- endif %}"""

QWEN_25 = """\
{%- if messages[0].role != 'system' %}{{- '<|im_start|>system\\nYou help.' }}
{%- else %}{{- '<|im_start|>system\\n' + messages[0].content }}{%- endif %}
{%- for t in tools or [] %}{{- '\\n' }}{{- t | tojson }}{%- endfor %}{{- '<|im_end|>\\n' }}
{%- for m in messages %}{%- if m.role == 'tool' %}
{{- '<|im_start|>user\\n<tool_response>\\n' + m.content + '</tool_response><|im_end|>\\n' }}
{%- elif m.role != 'system' %}{{- '<|im_start|>' + m.role }}
{%- if m.content %}{{- '\\n' + m.content }}{%- endif %}
{%- for c in m.tool_calls or [] %}{{- '\\n<tool_call>\\n{"name": "' + c.function.name }}
{{- '", "arguments": ' }}{{- c.function.arguments | tojson }}{{- '}\\n</tool_call>' }}{%- endfor %}
{{- '<|im_end|>\\n' }}{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""

QWEN_3 = """\
{%- set ns = namespace(last=0) %}{%- for m in messages %}{%- if m.role == 'user' %}
{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}
{%- for t in tools or [] %}{{- t | tojson }}{{- '\\n' }}{%- endfor %}
{%- for m in messages %}{{- '<|im_start|>' + m.role + '\\n' }}
{%- if m.role == 'assistant' %}{%- set thought = m.reasoning_content or '' %}
{%- if loop.index0 > ns.last and (loop.last or thought) %}
{{- '<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' + m.content.lstrip('\\n') }}
{%- else %}{{- m.content }}{%- endif %}
{%- for c in m.tool_calls or [] %}{{- '\\n<tool_call>\\n{"name": "' + c.function.name }}
{{- '", "arguments": ' }}
{%- if c.function.arguments is string %}{{- c.function.arguments }}
{%- else %}{{- c.function.arguments | tojson }}{%- endif %}{{- '}\\n</tool_call>' }}{%- endfor %}
{%- else %}{{- m.content }}{%- endif %}{{- '<|im_end|>\\n' }}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""

GEMMA_2 = """\
{{ bos_token }}{% if messages[0]['role'] == 'system' %}
{{ raise_exception('System role not supported') }}{% endif %}
{%- for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('Roles must alternate user/assistant') }}{% endif %}
{%- set role = 'model' if m['role'] == 'assistant' else m['role'] %}
{{- '<start_of_turn>' + role + '\\n' + m['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"""

GEMMA_3 = """\
{{ bos_token }}{%- if messages[0]['role'] == 'system' %}
{%- set first = messages[0]['content'] + '\\n\\n' %}{%- set turns = messages[1:] %}
{%- else %}{%- set first = '' %}{%- set turns = messages %}{%- endif %}
{%- for m in turns %}{%- if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('Conversation roles must alternate') }}{%- endif %}
{%- set role = 'model' if m['role'] == 'assistant' else m['role'] %}
{{- '<start_of_turn>' + role + '\\n' + (first if loop.first else '') }}
{{- m['content'] | trim }}{{ '<end_of_turn>\\n' }}{%- endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{%- endif %}"""

MISTRAL = """\
{{- bos_token }}{%- if messages[0]['role'] == 'system' %}
{%- set system = messages[0]['content'] %}{%- set turns = messages[1:] %}
{%- else %}{%- set turns = messages %}{%- endif %}
{%- for m in turns %}{%- if m['role'] == 'user' %}
{%- if loop.index0 % 2 %}{{ raise_exception('roles must alternate') }}{%- endif %}
{{- '[INST] ' }}{%- if loop.last and system is defined %}{{- system + '\\n\\n' }}{%- endif %}
{{- m['content'] + '[/INST]' }}{%- elif m['role'] == 'assistant' %}
{%- if not loop.index0 % 2 %}{{ raise_exception('roles must alternate') }}{%- endif %}
{{- ' ' + m['content'] | trim + eos_token }}{%- endif %}{%- endfor %}"""

PHI_3 = """\
{% for m in messages %}{{ '<|' + m['role'] + '|>\\n' + m['content'] + '<|end|>\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"""

PHI_4 = """\
{% for m in messages %}
{{- '<|im_start|>' + m['role'] + '<|im_sep|>' + m['content'] + '<|im_end|>' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}"""

SMOLLM_3 = """\
{%- for m in messages %}{%- if m.role == 'assistant' %}{{- '<|im_start|>assistant\\n' }}
{%- generation %}{{- '<think>\\n\\n</think>\\n' + m.content + '<|im_end|>' }}
{%- endgeneration %}{{- '\\n' }}
{%- else %}{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{%- endif %}
{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""

ZEPHYR = """\
{% for m in messages %}
{{- '<|' + m['role'] + '|>\\n' + m['content'] + eos_token + '\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"""

DEEPSEEK = """\
{{- bos_token }}{%- for m in messages %}{%- if m.role == 'system' %}{{- m.content }}
{%- elif m.role == 'user' %}{{- '<|User|>' + m.content }}
{%- elif m.role == 'tool' %}{{- '<|tool|>' + m.content }}
{%- elif m.tool_calls is defined %}{{- '<|Assistant|>' + m.content }}
{%- for c in m.tool_calls %}
{{- '<|call|>' + c['function']['name'] + '\\n' + c['function']['arguments'] }}{%- endfor %}
{{- '<|eos|>' }}
{%- else %}{{- '<|Assistant|>' + m.content.split('</think>')[-1] + '<|eos|>' }}{%- endif %}
{%- endfor %}{%- if add_generation_prompt %}{{- '<|Assistant|>' }}{%- endif %}"""

FAMILIES = {
    "Llama 3": Family(LLAMA_3, "<|eot|>", ("<|start|>", "<|end|>"), tools=True),
    "Qwen 2.5": Family(QWEN_25, "<|im_end|>", ("<|im_start|>",), tools=True),
    "Qwen 3": Family(
        *(QWEN_3, "<|im_end|>", ("<|im_start|>",)),
        tools=True,
        rewrites=True,
        before="<think>\n\n</think>\n\n",
    ),
    "Gemma 2": Family(GEMMA_2, "<end_of_turn>", ("<start_of_turn>",), system=False),
    "Gemma 3": Family(GEMMA_3, "<end_of_turn>", ("<start_of_turn>",)),
    "Mistral": Family(MISTRAL, "</s>", ("[INST]", "[/INST]")),
    "Phi 3": Family(PHI_3, "<|end|>", ("<|user|>", "<|assistant|>")),
    "Phi 4": Family(PHI_4, "<|im_end|>", ("<|im_start|>", "<|im_sep|>")),
    "SmolLM 3": Family(SMOLLM_3, "<|im_end|>", ("<|im_start|>",)),
    "Zephyr": Family(ZEPHYR, "</s>", ("<|user|>", "<|assistant|>")),
    "DeepSeek": Family(DEEPSEEK, "<|eos|>", ("<|User|>", "<|Assistant|>"), tools=True),
}
