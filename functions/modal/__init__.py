"""What `modal_app.py` deploys: settings of the deployment, images, and the life of a container."""
