"""What people look at in Kibana: data views and dashboards, from one definition.

:mod:`~webevents.kibana.dashboards` says what there is, in the words of
:mod:`~webevents.kibana.model`; :mod:`~webevents.kibana.objects` turns it into the saved objects of
a pipeline, as Kibana's import API takes them. Nothing here talks to anybody.
"""
