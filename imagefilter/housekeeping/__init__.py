"""Keep house among the images of servers: count them, and delete those that have expired.

* :mod:`~imagefilter.housekeeping.image`: an image as Glance describes it, and its stamps;
* :mod:`~imagefilter.housekeeping.decision`: may an image be deleted, and why not; pure;
* :mod:`~imagefilter.housekeeping.cloud`: what is asked of a cloud, and how that can fail;
* :mod:`~imagefilter.housekeeping.openstack`: questions to Glance, Nova and Cinder, as an administrator;
* :mod:`~imagefilter.housekeeping.survey`: the first look at all images and servers: who is a candidate;
* :mod:`~imagefilter.housekeeping.reaper`: lists what has expired, and deletes it;
* :mod:`~imagefilter.housekeeping.deletions`: the records of deletions, in a journal;
* :mod:`~imagefilter.housekeeping.census`: counts images by project and server.
"""
