# docs/guides/images.md: pictures in messages.

# [message]
from dataclasses import dataclass

import PIL.Image

from trio_agents import (
    JSON_DATA_CONTENT_TYPE,
    Image,
    SerializationRegistry,
    try_get_known_serializers_for_type,
)
from trio_agents.models import LLMMessage, SystemMessage, UserMessage


@dataclass
class Question:
    text: str
    screenshot: Image | None
    history: list[LLMMessage]


red = Image.from_pil(PIL.Image.new("RGB", (64, 64), "red"))
question = Question(
    "What is this?",
    red,
    [SystemMessage(content="You see."), UserMessage(content=["Look:", red], source="user")],
)

registry = SerializationRegistry()
registry.add_serializer(try_get_known_serializers_for_type(Question))
payload = registry.serialize(
    question, type_name="Question", data_content_type=JSON_DATA_CONTENT_TYPE
)
back = registry.deserialize(payload, type_name="Question", data_content_type=JSON_DATA_CONTENT_TYPE)
print(back == question, back.screenshot)
# [/message]
# [forms]
assert Image.from_base64(red.to_base64()) == red
assert Image.from_uri(red.data_uri) == red
print(red.data_uri[:27], red.to_openai_format(detail="low")["image_url"]["detail"])
# [/forms]

# Prints:
# True <Image 64x64>
# data:image/png;base64,iVBOR low
