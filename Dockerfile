# The demo in a container:  docker build -t inpaint_hub . && docker run -p 7860:7860 inpaint_hub
# For torch without CUDA, a third of the size, give its index: --build-arg PIP_EXTRA_INDEX_URL=...
FROM python:3.12-slim
ARG PIP_EXTRA_INDEX_URL=""
ENV PIP_EXTRA_INDEX_URL=${PIP_EXTRA_INDEX_URL}
RUN useradd -m -u 1000 user
WORKDIR /home/user/app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY --chown=user app.py README.md ./
COPY --chown=user inpaint_hub inpaint_hub
COPY --chown=user weights weights
COPY --chown=user examples examples
USER user
ENV GRADIO_SERVER_NAME=0.0.0.0 GRADIO_SERVER_PORT=7860
EXPOSE 7860
CMD ["python", "app.py"]
