"""The nouns of the registry: frozen, validated, without I/O.

Field names, types and help texts live here once; the API, the Dagster metadata and the reference pages derive from
them. Ids are 64-bit: in JSON an integer beyond 2^53 is a string.
"""

from feature_registry.model.access import LARGEST_JSON_INTEGER as LARGEST_JSON_INTEGER
from feature_registry.model.access import Condition as Condition
from feature_registry.model.access import Cost as Cost
from feature_registry.model.access import Found as Found
from feature_registry.model.access import Grant as Grant
from feature_registry.model.access import Mode as Mode
from feature_registry.model.access import Operator as Operator
from feature_registry.model.access import Person as Person
from feature_registry.model.access import Plan as Plan
from feature_registry.model.access import PlannedFile as PlannedFile
from feature_registry.model.access import PlanRequest as PlanRequest
from feature_registry.model.access import Search as Search
from feature_registry.model.access import Where as Where
from feature_registry.model.columns import Column as Column
from feature_registry.model.columns import ColumnKind as ColumnKind
from feature_registry.model.columns import Embedding as Embedding
from feature_registry.model.columns import PackedPoint as PackedPoint
from feature_registry.model.columns import Plain as Plain
from feature_registry.model.columns import SegmentationNode as SegmentationNode
from feature_registry.model.columns import SplitPoint as SplitPoint
from feature_registry.model.columns import StoredField as StoredField
from feature_registry.model.columns import TableId as TableId
from feature_registry.model.datastacks import Datastack as Datastack
from feature_registry.model.datastacks import MaterializationVersion as MaterializationVersion
from feature_registry.model.noun import Instant as Instant
from feature_registry.model.noun import Name as Name
from feature_registry.model.noun import Nanometres as Nanometres
from feature_registry.model.noun import Noun as Noun
from feature_registry.model.noun import Resolution as Resolution
from feature_registry.model.noun import Text as Text
from feature_registry.model.noun import aware as aware
from feature_registry.model.policies import Action as Action
from feature_registry.model.policies import Policies as Policies
from feature_registry.model.tables import FeatureTable as FeatureTable
from feature_registry.model.tables import HashBuckets as HashBuckets
from feature_registry.model.tables import Metadata as Metadata
from feature_registry.model.tables import Owner as Owner
from feature_registry.model.tables import Producer as Producer
from feature_registry.model.tables import Retention as Retention
from feature_registry.model.tables import TimeRange as TimeRange
from feature_registry.model.versions import CheckResult as CheckResult
from feature_registry.model.versions import Contents as Contents
from feature_registry.model.versions import Entry as Entry
from feature_registry.model.versions import Event as Event
from feature_registry.model.versions import Existence as Existence
from feature_registry.model.versions import Inspection as Inspection
from feature_registry.model.versions import Layout as Layout
from feature_registry.model.versions import Leftover as Leftover
from feature_registry.model.versions import Lineage as Lineage
from feature_registry.model.versions import Registration as Registration
from feature_registry.model.versions import Report as Report
from feature_registry.model.versions import Status as Status
from feature_registry.model.versions import StoredLayout as StoredLayout
from feature_registry.model.versions import TableRef as TableRef
from feature_registry.model.versions import TableVersion as TableVersion
from feature_registry.model.versions import Written as Written
