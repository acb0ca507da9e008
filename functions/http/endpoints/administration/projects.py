"""``/v1/organization/projects``: projects, and the models that each may use."""

from __future__ import annotations

from typing import Annotated, Any

from functions.http.dependencies import State
from functions.http.endpoints.administration.common import (
    ERRORS,
    PROJECT,
    PROJECTS,
    Admin,
    page_object,
)
from functions.http.fastapi_import import Query
from functions.http.resource_routing import resource_router
from shared.accounts.types import ModelPermissions
from shared.protocol.openai.administration.objects import (
    ModelPermissionsDeleted,
    ModelPermissionsObject,
    ProjectObject,
)
from shared.protocol.openai.administration.requests import (
    ModelPermissionsUpdate,
    ProjectCreation,
    ProjectsQuery,
    ProjectUpdate,
)
from shared.runtime.prefix_deletion import forget_prefixes

router = resource_router("projects")
_PERMISSIONS = f"{PROJECT}/model_permissions"


@router.post(PROJECTS, responses=ERRORS)
async def create_project(body: ProjectCreation, admin: Admin) -> ProjectObject:
    """Create a project: a tenant with keys, limits and bills of its own."""
    return ProjectObject.of(await admin.do(lambda a, actor: a.projects.create(actor, body.name)))


@router.get(PROJECTS, responses=ERRORS)
async def list_projects(query: Annotated[ProjectsQuery, Query()], admin: Admin) -> dict[str, Any]:
    """List projects, the oldest first."""
    found, has_more = await admin.do(
        lambda a, _: a.projects.list(
            limit=query.limit, after=query.after, include_archived=query.include_archived
        )
    )
    return page_object(map(ProjectObject.of, found), has_more)


@router.get(PROJECT, responses=ERRORS)
async def get_project(project_id: str, admin: Admin) -> ProjectObject:
    """Fetch a project."""
    return ProjectObject.of(await admin.do(lambda a, _: a.projects.get(project_id)))


@router.post(PROJECT, responses=ERRORS)
async def update_project(project_id: str, body: ProjectUpdate, admin: Admin) -> ProjectObject:
    """Rename a project."""
    name = body.name
    if name is None:
        return await get_project(project_id, admin)
    return ProjectObject.of(
        await admin.do(lambda a, actor: a.projects.rename(actor, project_id, name))
    )


@router.post(f"{PROJECT}/archive", responses=ERRORS)
async def archive_project(project_id: str, admin: Admin, state: State) -> ProjectObject:
    """Archive a project for good: its keys stop within 30 s.

    What the prefix cache has of its prompts is deleted.
    """
    archived = await admin.do(lambda a, actor: a.projects.archive(actor, project_id))
    await forget_prefixes(state, archived.id)
    return ProjectObject.of(archived)


@router.get(_PERMISSIONS, responses=ERRORS)
async def get_model_permissions(project_id: str, admin: Admin) -> ModelPermissionsObject:
    """Tell which models a project may use."""
    project = await admin.do(lambda a, _: a.projects.get(project_id))
    return ModelPermissionsObject.of(project.model_permissions)


@router.post(_PERMISSIONS, responses=ERRORS)
async def update_model_permissions(
    project_id: str, body: ModelPermissionsUpdate, admin: Admin
) -> ModelPermissionsObject:
    """Say which models a project may use, by any of their names."""
    permissions = ModelPermissions(mode=body.mode, models=body.model_ids)
    project = await admin.do(
        lambda a, actor: a.projects.permit_models(actor, project_id, permissions)
    )
    return ModelPermissionsObject.of(project.model_permissions)


@router.delete(_PERMISSIONS, responses=ERRORS)
async def delete_model_permissions(project_id: str, admin: Admin) -> ModelPermissionsDeleted:
    """Let a project use all models."""
    await admin.do(lambda a, actor: a.projects.permit_models(actor, project_id, None))
    return ModelPermissionsDeleted(deleted=True)
