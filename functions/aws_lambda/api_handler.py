"""ApiFunction: stored completions and the list of models, through API Gateway, without a model."""

from __future__ import annotations

from functions.api_app import create_api_app
from functions.aws_lambda.buffered_door import BufferedDoor
from functions.aws_lambda.initialization import lambda_settings

handler = BufferedDoor(create_api_app(lambda_settings()))
